"use strict";
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Light and dark: the system's until somebody chooses.
  const root = document.documentElement, theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const named = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; named(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
  named();

  // Tables: a click sorts by a column, a second one the other way round; what is not there comes last.
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table), body = table.tBodies[0];
    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const cells = all("tr", body).map(row => row.cells[column].dataset.value);
      const isText = cells.some(value => value !== "" && isNaN(value));
      const first = isText ? "ascending" : "descending";
      const other = isText ? "descending" : "ascending";
      const direction = heading.getAttribute("aria-sort") === first ? other : first;
      headings.forEach(one => one.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const value = row => row.cells[column].dataset.value;
      const order = (a, b) => {
        const x = value(a), y = value(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isText ? x.localeCompare(y) : x - y);
      };
      body.append(...all("tr", body).sort(order));
    }));
  }

  const folded = document.getElementById("folded");
  if (folded) folded.addEventListener("change", () =>
    folded.closest("section").classList.toggle("unfolded", folded.checked));

  // Predictions: the left method lies over the right one, up to the slider.
  for (const part of all(".predictions")) {
    const range = part.querySelector("input[type=range]");
    if (!range) continue;
    const side = name => part.querySelector(`select[data-side=${name}]`);
    const show = () => {
      const left = side("left").value, right = side("right").value, at = range.value;
      for (const stack of all(".stack", part)) {
        stack.classList.add("split");
        stack.style.setProperty("--at", `${at}%`);
        for (const image of all("img", stack)) {
          const method = image.dataset.method;
          image.style.visibility = method === left || method === right ? "visible" : "hidden";
          image.style.zIndex = method === left ? 2 : 1;
          image.style.clipPath = method === left ? `inset(0 ${100 - at}% 0 0)` : "none";
        }
        if (left === right) all("img", stack).forEach(image => { image.style.clipPath = "none"; });
      }
      all(".left", part).forEach(label => { label.textContent = left; });
      all(".right", part).forEach(label => { label.textContent = right; });
    };
    range.addEventListener("input", show);
    all("select", part).forEach(select => select.addEventListener("change", show));
    for (const stack of all(".stack", part)) {
      const move = event => {
        if (event.type === "pointermove" && !event.buttons) return;
        const box = stack.getBoundingClientRect();
        range.value = Math.round(100 * (event.clientX - box.left) / box.width);
        show();
      };
      stack.addEventListener("pointerdown", move);
      stack.addEventListener("pointermove", move);
      stack.addEventListener("dragstart", event => event.preventDefault());
    }
    show();
  }

  for (const part of all(".panes")) {
    const select = part.querySelector("select");
    if (select) select.addEventListener("change", () =>
      all(".pane", part).forEach(pane => { pane.hidden = pane.dataset.name !== select.value; }));
  }

  const tip = document.getElementById("tip");
  document.addEventListener("pointerover", event => {
    const text = event.target.dataset && event.target.dataset.tip;
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = event.target.getBoundingClientRect();
    tip.style.left = `${Math.min(box.right + 6, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(box.top - 28, 4)}px`;
  });

  const copy = document.getElementById("copy");
  if (copy) copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById("command").textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById("command"));
    }
  });
}
