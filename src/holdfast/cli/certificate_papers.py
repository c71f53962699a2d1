"""The papers behind certificates, as BibTeX. Plain data: imports nothing."""

PAPERS_OF_CERTIFICATES = {
    "weng2018": """@inproceedings{weng2018,
  title = {Towards Fast Computation of Certified Robustness for {ReLU} Networks},
  author = {Weng, Tsui-Wei and Zhang, Huan and Chen, Hongge and Song, Zhao and Hsieh, Cho-Jui and
            Boning, Duane and Dhillon, Inderjit S. and Daniel, Luca},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
  note = {arXiv:1804.09699}
}""",
    "zhang2018crown": """@inproceedings{zhang2018crown,
  title = {Efficient Neural Network Robustness Certification with General Activation Functions},
  author = {Zhang, Huan and Weng, Tsui-Wei and Chen, Pin-Yu and Hsieh, Cho-Jui and Daniel, Luca},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
  note = {arXiv:1811.00866}
}""",
    "zhang2020crownibp": """@inproceedings{zhang2020crownibp,
  title = {Towards Stable and Efficient Training of Verifiably Robust Neural Networks},
  author = {Zhang, Huan and Chen, Hongge and Xiao, Chaowei and Gowal, Sven and Stanforth, Robert
            and Li, Bo and Boning, Duane and Hsieh, Cho-Jui},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
  note = {arXiv:1906.06316}
}""",
    "xu2021": """@inproceedings{xu2021,
  title = {Fast and Complete: Enabling Complete Neural Network Verification with Rapid and
           Massively Parallel Incomplete Verifiers},
  author = {Xu, Kaidi and Zhang, Huan and Wang, Shiqi and Wang, Yihan and Jana, Suman and Lin, Xue
            and Hsieh, Cho-Jui},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
  note = {arXiv:2011.13824}
}""",
    "gowal2018": """@article{gowal2018,
  title = {On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
           Models},
  author = {Gowal, Sven and Dvijotham, Krishnamurthy and Stanforth, Robert and Bunel, Rudy and
            Qin, Chongli and Uesato, Jonathan and Arandjelovic, Relja and Mann, Timothy and Kohli,
            Pushmeet},
  journal = {arXiv preprint arXiv:1810.12715},
  year = {2018}
}""",
    "wong2018": """@inproceedings{wong2018,
  title = {Provable Defenses against Adversarial Examples via the Convex Outer Adversarial
           Polytope},
  author = {Wong, Eric and Kolter, J. Zico},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
  note = {arXiv:1711.00851}
}""",
    "wong2018scaling": """@inproceedings{wong2018scaling,
  title = {Scaling provable adversarial defenses},
  author = {Wong, Eric and Schmidt, Frank R. and Metzen, Jan Hendrik and Kolter, J. Zico},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
  note = {arXiv:1805.12514}
}""",
    "xu2020": """@inproceedings{xu2020,
  title = {Automatic Perturbation Analysis for Scalable Certified Robustness and Beyond},
  author = {Xu, Kaidi and Shi, Zhouxing and Zhang, Huan and Wang, Yihan and Chang, Kai-Wei and
            Huang, Minlie and Kailkhura, Bhavya and Lin, Xue and Hsieh, Cho-Jui},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
  note = {arXiv:2002.12920}
}""",
    "wang2021": """@inproceedings{wang2021,
  title = {Beta-{CROWN}: Efficient Bound Propagation with Per-neuron Split Constraints for Neural
           Network Robustness Verification},
  author = {Wang, Shiqi and Zhang, Huan and Xu, Kaidi and Lin, Xue and Jana, Suman and Hsieh,
            Cho-Jui and Kolter, J. Zico},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
  note = {arXiv:2103.06624}
}""",
    "bunel2020": """@article{bunel2020,
  title = {Branch and Bound for Piecewise Linear Neural Network Verification},
  author = {Bunel, Rudy and Lu, Jingyue and Turkaslan, Ilker and Torr, Philip H. S. and Kohli,
            Pushmeet and Kumar, M. Pawan},
  journal = {Journal of Machine Learning Research},
  volume = {21},
  year = {2020},
  note = {arXiv:1909.06588}
}""",
    "tjeng2019": """@inproceedings{tjeng2019,
  title = {Evaluating Robustness of Neural Networks with Mixed Integer Programming},
  author = {Tjeng, Vincent and Xiao, Kai and Tedrake, Russ},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  note = {arXiv:1711.07356}
}""",
    "ehlers2017": """@inproceedings{ehlers2017,
  title = {Formal Verification of Piece-Wise Linear Feed-Forward Neural Networks},
  author = {Ehlers, R{\\"u}diger},
  booktitle = {Automated Technology for Verification and Analysis},
  year = {2017},
  note = {arXiv:1705.01320}
}""",
    "liu2021per": """@article{liu2021per,
  title = {Training Provably Robust Models by Polyhedral Envelope Regularization},
  author = {Liu, Chen and Salzmann, Mathieu and S{\\"u}sstrunk, Sabine},
  journal = {IEEE Transactions on Neural Networks and Learning Systems},
  year = {2021},
  note = {arXiv:1912.04792}
}""",
}
