// Times: all of a page in the operator's own zone, with UTC on hover, and "3 min ago" kept fresh. Without: all is UTC.
"use strict";

(() => {
  // The catalog is there only where the page is not in English.
  const gettext = window.gettext || ((words) => words);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  const language = document.documentElement.lang || "en";
  const dateLanguage = language.startsWith("en") ? "en-GB" : language;
  // As the server writes them: "2026-11-30 03:12" in each language, which in Sweden is how one writes.
  const minute = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  const whole = new Intl.DateTimeFormat("sv-SE", { ...minute, second: "2-digit" });
  const weekday = new Intl.DateTimeFormat(dateLanguage, { weekday: "short" });
  const short = {
    whole,
    minute: new Intl.DateTimeFormat("sv-SE", minute),
    time: new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit" }),
    day: new Intl.DateTimeFormat(dateLanguage, { weekday: "short", day: "2-digit" }),
    moment: new Intl.DateTimeFormat(dateLanguage, {
      weekday: "short", day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
    }),
    dated: { format: (at) => `${weekday.format(at)} ${whole.format(at)}` },
  };

  // As the server says it: one unit, rounded down.
  const rough = (seconds) => {
    for (const [size, unit] of [[86400, gettext("d")], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return `${Math.max(Math.floor(seconds), 0)} s`;
  };
  const ago = gettext("%(time)s ago"), inTime = gettext("in %(time)s"), justNow = gettext("just now");
  const isAhead = (text) => text.startsWith(inTime.split("%(time)s")[0]);

  // The server's clock counts: an operator's own may be wrong by minutes.
  const made = document.querySelector("meta[name=console-now]");
  const ahead = made ? Date.parse(made.content) - Date.now() : 0;

  const words = (at) => {
    const away = (at - Date.now() - ahead) / 1000;
    if (Math.abs(away) < 1) return justNow;
    return (away > 0 ? inTime : ago).replace("%(time)s", rough(Math.abs(away)));
  };

  // An input of a moment shows and takes local time; what is sent is UTC, and what nobody touched exactly what came.
  const takeLocal = (input) => {
    const sent = document.createElement("input");
    const came = new Date(`${input.getAttribute("value") || ""}Z`);
    const show = () => { input.title = sent.value ? `${sent.value.replace("T", " ")} UTC` : ""; };
    sent.type = "hidden";
    sent.name = input.name;
    input.removeAttribute("name");
    if (!Number.isNaN(came.getTime())) {
      sent.value = input.getAttribute("value");
      input.value = whole.format(came).replace(" ", "T");
    }
    input.after(sent);
    input.addEventListener("input", () => {
      const at = new Date(input.value);
      sent.value = Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(0, 19);
      show();
    });
    show();
  };

  // A moment that one types into a search is by one's own clock: it is sent with the zone, so that its address means the
  // same to everybody. The end of a day has the zone that its last moment has.
  const offset = (at) => {
    const minutes = -at.getTimezoneOffset();
    const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
    return `${minutes < 0 ? "-" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
  };
  const typed = /"[^"]*"|(?<=^|\s)(since|until):("?)(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?\2(?=\s|$)/gi;
  const zoned = (search) => search.replaceAll(typed, (term, name, _quote, day, time) => {
    if (!name) return term; // a phrase
    const at = new Date(`${day}T${time ?? "00:00"}`);
    if (!time && name.toLowerCase() === "until") at.setDate(at.getDate() + 1);
    return Number.isNaN(at.getTime()) ? term : `${name}:${day}${time ? `T${time}` : ""}${offset(at)}`;
  });
  document.addEventListener("formdata", (event) => {
    for (const { name } of event.target.querySelectorAll("input[data-moments][name]")) {
      event.formData.set(name, zoned(event.formData.get(name) ?? ""));
    }
  });

  const localise = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      if (element.dataset.local) continue;
      element.dataset.local = "yes";
      if (short[element.dataset.as]) {
        const here = short[element.dataset.as].format(at);
        element.textContent = "beside" in element.dataset ? `${here} ${zone} (${element.textContent})` : here;
      }
      else element.title = `${whole.format(at)} ${zone}\n${element.title}`;
    }
    // A chart: its axis, its table, and what its bars say, there with UTC beside it.
    for (const element of root.querySelectorAll("[data-at]")) {
      const format = short[element.dataset.as];
      if (!format || element.dataset.local) continue;
      element.dataset.local = "yes";
      const at = format.format(new Date(element.dataset.at)).replaceAll(/[,.]/g, "");
      element.textContent = element.dataset.beside ? gettext("%(time)s here").replace("%(time)s", at) + `, ${element.textContent}` : at;
    }
    // What a chart is called by who hears it.
    for (const drawing of root.querySelectorAll("[data-spoken]")) {
      const format = short[drawing.dataset.as];
      const [first, last] = ["first", "last"].map((name) => format.format(new Date(drawing.dataset[name])).replaceAll(/[,.]/g, ""));
      drawing.setAttribute("aria-label", drawing.dataset.spoken.replace("{0}", first).replace("{1}", last).replace("UTC", zone));
    }
    for (const element of root.querySelectorAll("[data-zone]")) element.textContent = zone;
    for (const input of root.querySelectorAll("input[data-utc][name]")) takeLocal(input);
    for (const link of root.querySelectorAll("a[data-own-zone][hidden]")) {
      const url = new URL(link.href);
      url.searchParams.set("zone", zone);
      link.href = url.href;
      link.hidden = false;
    }
  };

  const freshen = () => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-as=ago]")) {
      const at = new Date(element.dateTime);
      const text = words(at.getTime());
      // What was to happen by now happens elsewhere: only the server knows whether it did.
      if (isAhead(element.textContent) && !isAhead(text)) continue;
      if (text !== element.textContent) element.textContent = text;
    }
  };

  localise(document);
  document.addEventListener("live:swapped", (event) => localise(event.target));
  document.addEventListener("visibilitychange", freshen);
  setInterval(freshen, 5000);
})();
