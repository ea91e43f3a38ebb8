// What HTML alone cannot do: the filters, and links inside the page where its base address is another's (an iframe with srcdoc).
// Nothing is stored, fetched or built from text: entries are only shown and hidden.
"use strict";
for (const form of document.querySelectorAll("form[data-list]")) {
  const list = document.getElementById(form.dataset.list);
  const groups = [...list.querySelectorAll("details.group")];
  const entries = [...list.querySelectorAll("li[data-tags]")].map((item) => ({
    item, tags: new Set(item.dataset.tags.split(" ")), text: item.textContent.toLowerCase(),
  }));
  const said = form.querySelector("[role=status]");
  const apply = () => {
    const wanted = [...form.querySelectorAll("select")].map((s) => s.value).filter(Boolean);
    const words = form.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { item, tags, text } of entries) {
      const fits = wanted.every((tag) => tags.has(tag)) && words.every((word) => text.includes(word));
      item.hidden = !fits;
      shown += fits;
    }
    for (const group of groups) {
      group.hidden = !group.querySelector("li[data-tags]:not([hidden])");
      if (wanted.length || words.length) group.open = true;
    }
    said.textContent = shown === entries.length ? `All ${shown} on this page` : `${shown} of the ${entries.length} on this page`;
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const kind of ["input", "change"]) form.addEventListener(kind, apply);
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
}
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  for (let node = target; node; node = node.parentElement) {
    if (node.hidden) node.hidden = false;
    if (node.tagName === "DETAILS") node.open = true;
  }
  const inner = target.tagName === "LI" && target.querySelector(":scope > details");
  if (inner) inner.open = true;
  const place = inner ? inner.querySelector("summary") : target;
  if (!inner) place.tabIndex = -1;
  place.focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
});
