// Notes that somebody looks at the page, so that they are told what is new when they come back. Without it the button does.
"use strict";

(() => {
  const form = document.getElementById("seen");
  if (!form) return;
  const note = () => {
    if (document.hidden) return;
    document.removeEventListener("visibilitychange", note);
    const body = new FormData(form);
    body.set("visit", "1");
    fetch(form.action, { method: "POST", body, credentials: "same-origin" }).catch(() => {});
  };
  document.addEventListener("visibilitychange", note);
  note();
})();
