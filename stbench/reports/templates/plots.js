// Plots: a mark tells its values at the pointer, at a touch, and with the keyboard: Tab to a plot, arrows in it.
// Without this script the browser shows them at the pointer.

const tip = element("div", { className: "tip", role: "tooltip", hidden: true });
document.body.append(tip);

function show(mark) {
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const at = mark.getBoundingClientRect();
  const left = Math.min(at.right + 10, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const above = at.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${(above < 0 ? at.bottom + 8 : above) + scrollY}px`;
}

function hide() {
  tip.hidden = true;
}

// One stop of the Tab key in each plot; arrows go from mark to mark.
function makeTelling(marks) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  marks.forEach((mark, place) => {
    mark.querySelector("title").remove(); // else the browser shows it as well
    mark.tabIndex = place === 0 ? 0 : -1;
    for (const shown of ["pointerenter", "focus", "click"]) mark.addEventListener(shown, () => show(mark));
    for (const gone of ["pointerleave", "blur"]) mark.addEventListener(gone, hide);
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!(event.key in step)) return;
      event.preventDefault();
      const next = marks[(place + step[event.key] + marks.length) % marks.length];
      mark.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
}

for (const figure of document.querySelectorAll("figure")) makeTelling([...figure.querySelectorAll(".mark")]);
