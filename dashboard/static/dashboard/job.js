// The job page: copy buttons, and the tab's title that follows the state. The page works without this file.
"use strict";

(() => {
  // The catalog is there only where the page is not in English.
  const gettext = window.gettext || ((words) => words);

  // One listener for all: live parts come and go.
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("button[data-copies]") : null;
    const source = button && document.getElementById(button.dataset.copies);
    if (!source) return;
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      button.textContent = gettext("Copied");
    } catch {
      button.textContent = gettext("Could not copy");
    }
    document.dispatchEvent(new CustomEvent("live:say", { detail: button.textContent }));
    setTimeout(() => { button.textContent = words; }, 2000);
  });

  // "Enqueued: shop.Charge #7 | …" becomes "Failed: shop.Charge #7 | …".
  let shown = document.getElementById("job-heading")?.dataset.title;
  document.addEventListener("live:swapped", (event) => {
    const title = event.target.id === "job-heading" && event.target.dataset.title;
    if (!title || title === shown) return;
    document.title = document.title.replace(shown, () => title);
    shown = title;
  });
})();
