// Keyboard: "/" goes to the search box of the list, or else to that of the jobs, "?" shows the keys, "r" goes to the Retry
// button of the row or the job, and with Shift presses it. What else a key is for hears "console:key", as list.js does.
// Whoever has turned single keys off has none of them, on any page.
"use strict";

(() => {
  const dialog = document.getElementById("keyboard-help");
  const typing = (target) =>
    target instanceof Element &&
    target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], [role=textbox], [role=combobox], [role=listbox]") !== null;

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

  // The row's that has the focus, or else the job page's.
  const retry = () =>
    document.activeElement?.closest("#result_list tbody tr")?.querySelector("button[formaction*='/retry/']") ??
    document.querySelector(".job form.verbs .verb-retry");

  const act = (event) => {
    if (event.key === "?" && dialog) {
      dialog.showModal();
    } else if (event.key === "/") {
      const jobs = document.querySelector(".console-nav a[data-jobs]");
      if (!search() && jobs) location.href = `${jobs.href}#searchbar`;
    } else if (event.key === "r" || event.key === "R") {
      const button = retry();
      if (!button) return false;
      // A bare key, hit by mistake or said to a machine, does nothing that cannot be taken back by looking.
      if (event.shiftKey) button.click();
      else button.focus();
    } else {
      return !document.dispatchEvent(new CustomEvent("console:key", { detail: event.key, cancelable: true }));
    }
    return true;
  };

  document.addEventListener("keydown", (event) => {
    if (dialog?.dataset.keys !== "on" || document.querySelector("dialog[open]")) return;
    if (event.defaultPrevented || event.repeat && event.key.toLowerCase() === "r" || event.isComposing || typing(event.target)) return;
    if (["Control", "Meta", "Alt", "AltGraph", "OS", "Fn"].some((name) => event.getModifierState(name))) return;
    if (act(event)) event.preventDefault();
  });

  // Asked for from another page. Left in the address, it would be in that of the search too, and keys would type there.
  if (location.hash === "#searchbar" && search()) {
    history.replaceState(history.state, "", location.pathname + location.search);
  }
})();
