// Keyboard: "/" goes to the search box of the list, or else to that of the jobs, "?" shows the keys, "r" retries on the job page. list.js binds those of the job list.
"use strict";

(() => {
  const dialog = document.getElementById("keyboard-help");
  const typing = (target) =>
    target instanceof Element &&
    target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]") !== null;

  const search = () => {
    const box = document.getElementById("searchbar"); // the list's, or else the one of the header, which a phone has not
    if (!box?.offsetParent) return false;
    box.focus();
    box.select();
    return true;
  };

  // A text field would join pasted lines: ids on lines of their own to one number, and a traceback to no end of code.
  // Of a traceback the line that names the error is taken, as the server does with what an address says.
  const taken = (text) => {
    const parts = text.split("Traceback (most recent call last):");
    const lines = parts.at(-1).split(/\r?\n/);
    const error = parts.length > 1 ? lines.slice(1).find((line) => /^\S/.test(line)) : undefined;
    if (error) return error;
    const isError = /^\s*(?:[A-Za-z_]\w*\.)*[A-Z]\w*:\s/.test(text);
    return isError ? text.trim().split(/\r?\n/)[0] : text.trim().split(/\s*\n\s*/).join(" ");
  };
  for (const id of ["searchbar", "find-jobs"]) {
    const box = document.getElementById(id);
    box?.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (!text.trim().includes("\n")) return;
      event.preventDefault();
      box.setRangeText(taken(text).slice(0, box.maxLength), box.selectionStart, box.selectionEnd, "end");
    });
  }

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
