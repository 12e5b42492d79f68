// Keyboard: "/" goes to the search box, "?" shows the keys, "r" retries on the job page. list.js binds those of the job list.
"use strict";

(() => {
  const dialog = document.getElementById("keyboard-help");
  const typing = (target) =>
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

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
      const box = document.querySelector("#content input[type=search], #searchbar, #content input[name=q]");
      event.preventDefault();
      if (box) {
        box.focus();
        box.select();
      } else {
        const jobs = document.querySelector(".console-nav a[data-jobs]");
        if (jobs) location.href = `${jobs.href}#searchbar`;
      }
    }
  });
})();
