(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    table.querySelectorAll("thead th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        const numeric = head.classList.contains("number");
        const key = (row) => {
          const cell = row.cells[column];
          const text = cell.dataset.key ?? cell.textContent;
          return numeric ? (isNaN(text) ? Infinity : Number(text)) : text;
        };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => (numeric ? a - b || 0 : a.localeCompare(b, "en", { numeric: true })));
        if (down) rows.reverse();
        body.append(...rows.map(([, row]) => row));
        for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    });
  }
})();
