// Search and filters. The page is complete without them: everything is in the document.
"use strict";

(() => {
  const tools = document.getElementById("tools");
  if (!tools) return;
  const cards = [...document.querySelectorAll("article")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const search = document.getElementById("search");
  const project = document.getElementById("project");
  const kind = document.getElementById("kind");
  const status = document.getElementById("status");
  const boxes = [...tools.querySelectorAll("input[type=checkbox]")];
  let texts = null;
  let waiting = 0;

  // The text of a card, in lower case. Collected at the first search, since it takes a moment.
  function textOf(index) {
    texts ??= cards.map((card) => card.textContent.toLowerCase());
    return texts[index];
  }

  function matches(card, index, words, actions) {
    if (!actions.has(card.dataset.action)) return false;
    if (project.value && card.dataset.project !== project.value) return false;
    if (kind.value && card.dataset.kind !== kind.value) return false;
    return words.every((word) => textOf(index).includes(word));
  }

  function apply() {
    waiting = 0;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const actions = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    cards.forEach((card, index) => {
      const fits = matches(card, index, words, actions);
      if (card.hidden === fits) card.hidden = !fits;
      if (fits) shown += 1;
    });
    for (const group of groups) {
      group.hidden = !group.querySelector("article:not([hidden])");
    }
    count(shown);
  }

  function count(shown) {
    const total = cards.length.toLocaleString("en");
    status.textContent = `${shown.toLocaleString("en")} of ${total} shown`;
  }

  function soon() {
    if (!waiting) waiting = requestAnimationFrame(apply);
  }

  function open(all) {
    for (const card of cards) {
      if (!card.hidden) card.querySelector("details").open = all;
    }
  }

  search.addEventListener("input", soon);
  tools.addEventListener("change", soon);
  document.getElementById("open").addEventListener("click", () => open(true));
  document.getElementById("close").addEventListener("click", () => open(false));
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.focus();
    }
  });

  // Paper has no arrows to click.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = cards.map((card) => card.querySelector("details")).filter((each) => !each.open);
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));

  tools.hidden = false;
  count(cards.length);
})();
