// Keyboard: "/" goes to the search box of the list, or else to that of the jobs, "?" shows the keys, "r" retries on the job page. list.js binds those of the job list.
"use strict";

(() => {
  const dialog = document.getElementById("keyboard-help");
  const typing = (target) =>
    target instanceof Element &&
    target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]") !== null;

  const search = () => {
    const box = document.getElementById("searchbar");
    box?.focus();
    box?.select();
    return box !== null;
  };

  for (const button of document.querySelectorAll("[data-keyboard-help]")) {
    button.hidden = !dialog;
    button.addEventListener("click", () => dialog && dialog.showModal());
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
    if (dialog && dialog.open) return;
    if (event.key === "?" && dialog) {
      event.preventDefault();
      dialog.showModal();
    } else if (event.key === "r" && !event.repeat) {
      const retry = document.querySelector(".job form.verbs .verb-retry"); // the job page's; the list has its own
      if (retry) {
        event.preventDefault();
        retry.click();
      }
    } else if (event.key === "/") {
      event.preventDefault();
      const jobs = document.querySelector(".console-nav a[data-jobs]");
      if (!search() && jobs) location.href = `${jobs.href}#searchbar`;
    }
  });

  // Asked for from another page. Left in the address, it would be in that of the search too, and keys would type there.
  if (location.hash === "#searchbar" && search()) {
    history.replaceState(history.state, "", location.pathname + location.search);
  }
})();
