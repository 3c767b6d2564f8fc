// Sorts a table by the column whose heading is pressed: numbers by value, text by letter, empty cells last.
for (const heading of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const table = heading.closest("table");
    const column = [...heading.parentNode.children].indexOf(heading);
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const text = (row) => row.children[column].textContent.trim();
    const number = (value) => Number.parseFloat(value.replaceAll(",", ""));
    const compare = (a, b) => {
      if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
      const [x, y] = [number(a), number(b)];
      const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
      return descending ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b))));
  });
}
