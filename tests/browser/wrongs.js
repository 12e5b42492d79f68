// What a page has that keeps people out, in one look: a list of words, empty where all is well. Cheap enough to be asked
// at every width and in both themes, where axe takes about a second. Asked for by name: "page" is what no width changes.
(wanted) => {
  const found = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const short = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 160);
  const wrong = (what, element) => found.push(`${what}: ${short(element)}`);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- colours: relative luminance and contrast as WCAG 2 defines them, over the first opaque ground behind ---
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgb = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((v, i) => v * a + ground[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduceRight((ground, colour) => over(colour, ground), [255, 255, 255]);
  };
  const light = (colour) => colour.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [most, least] = [light(one), light(other)].sort((a, b) => b - a);
    return (most + 0.05) / (least + 0.05);
  };

  const text = () => {
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    for (const element of all(":not(svg *, option, :disabled, script, style)", document.body)) {
      if (!hasText(element) || !seen(element)) continue;
      const style = getComputedStyle(element);
      const ground = behind(element);
      const ratio = contrast(over(rgb(style.color), ground), ground);
      const size = parseFloat(style.fontSize) * (style.fontWeight >= 700 ? 24 / 18.66 : 1);
      if (ratio < (size >= 24 ? 3 : 4.5)) wrong(`contrast ${ratio.toFixed(2)}`, element);
    }
    // What one types into is told from its ground by a line or a wash of its own (1.4.11).
    for (const field of all("input:not([type=hidden], [type=checkbox], [type=radio], [type=submit], [type=button], .visually-hidden), textarea, select")) {
      if (!seen(field) || field.disabled || field.readOnly || getComputedStyle(field).opacity === "0") continue;
      const style = getComputedStyle(field);
      const ground = behind(field.parentElement);
      const line = style.borderTopStyle !== "none" && parseFloat(style.borderTopWidth) > 0 ? contrast(over(rgb(style.borderTopColor), ground), ground) : 1;
      if (Math.max(line, contrast(behind(field), ground)) < 3) wrong(`a field's edge has contrast ${line.toFixed(2)}`, field);
    }
  };

  // --- what one presses: 24 px, or as much room around it; not what stands in a sentence (2.5.8) ---
  const PRESSED = "a[href], button, summary, select, input:not([type=hidden]), textarea, [role=button], [tabindex='0']";
  const targets = () => {
    const boxes = [];
    for (const element of all(PRESSED)) {
      if (!seen(element) || element.disabled) continue;
      let { left, top, right, bottom } = element.getBoundingClientRect();
      if (right - left <= 1 || bottom - top <= 1) continue; // seen by screen readers only
      for (const label of element.labels ?? []) { // pressing the label does the same
        const box = label.getBoundingClientRect();
        if (!seen(label) || !box.width) continue;
        if (element.type !== "checkbox" && element.type !== "radio") continue;
        if (box.top > bottom || box.bottom < top) continue;
        [left, top, right, bottom] = [Math.min(left, box.left), Math.min(top, box.top), Math.max(right, box.right), Math.max(bottom, box.bottom)];
      }
      // What has been scrolled out of its box is not where it would be pressed.
      let clip = element.parentElement;
      while (clip && getComputedStyle(clip).overflowX === "visible") clip = clip.parentElement;
      if (clip && clip !== document.documentElement && left >= clip.getBoundingClientRect().right - 1) continue;
      boxes.push({ element, left, top, right, bottom, small: right - left < 23.9 || bottom - top < 23.9 });
    }
    const inSentence = (element) => {
      if (getComputedStyle(element).display !== "inline") return false;
      const block = element.parentElement.closest("p, li, dd, dt, td, th, figcaption, summary, h1, h2, h3, div, span.hint, label");
      return block !== null && [...block.childNodes].some((node) =>
        !node.contains?.(element) && (node.nodeType === 3 ? node.data.trim().length > 1 : node.nodeType === 1 && node.matches(":not(a, button, form, details, svg, .visually-hidden, :has(a, button))") && node.textContent.trim().length > 1 && getComputedStyle(node).display === "inline"));
    };
    const away = (x, y, box) => Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
    for (const box of boxes) {
      if (!box.small || inSentence(box.element)) continue;
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      const near = boxes.find((other) => {
        if (other === box || other.element.contains(box.element) || box.element.contains(other.element)) return false;
        if (other.small && Math.hypot((other.left + other.right) / 2 - x, (other.top + other.bottom) / 2 - y) < 23.9) return true;
        return away(x, y, other) < 11.9;
      });
      if (near) wrong(`${Math.round(box.right - box.left)} x ${Math.round(box.bottom - box.top)} px, beside ${short(near.element).slice(0, 60)}`, box.element);
    }
  };

  // --- focus: seen, told from its ground by 3 and more, not cut off, and not below what stays in place ---
  const focus = () => {
    const was = document.activeElement;
    const [x, y] = [scrollX, scrollY];
    const kinds = new Set();
    const drawn = (style) => [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.backgroundColor, style.borderColor, style.textDecorationLine].join("|");
    const open = [...document.querySelectorAll("details[open]")]; // some close when the focus goes elsewhere
    const reopen = (part) => { for (const each of open) if (part.contains(each) || each.contains(part)) each.open = true; };
    for (const element of all(PRESSED)) {
      reopen(element);
      if (!seen(element) || element.disabled || element.tabIndex < 0) continue;
      const kind = [element.tagName, element.className, element.type, element.parentElement.className, element.parentElement.tagName, element.closest("[id]")?.id].join(" ");
      if (kinds.has(kind)) continue;
      kinds.add(kind);
      element.blur();
      const before = drawn(getComputedStyle(element));
      element.focus();
      if (document.activeElement !== element) continue;
      // A box that is drawn by its label, or a row around what has the focus.
      const shown = [element, element.nextElementSibling, element.closest("tr, li, label"), element.querySelector("rect")].filter(Boolean)
        .find((some) => { const style = getComputedStyle(some); return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2; });
      if (!shown) {
        if (drawn(getComputedStyle(element)) === before && !element.querySelector("rect")) wrong("focus is not seen", element);
        continue;
      }
      const style = getComputedStyle(shown);
      const out = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
      const ground = behind(out > 0 ? shown.parentElement : shown);
      const ratio = contrast(over(rgb(style.outlineColor), ground), ground);
      if (ratio < 3) wrong(`focus has contrast ${ratio.toFixed(2)}`, element);
      const box = shown.getBoundingClientRect();
      for (let e = shown.parentElement; e && out > 0 && box.width > 1; e = e.parentElement) {
        const around = getComputedStyle(e);
        const clip = e.getBoundingClientRect();
        const cut = [
          around.overflowX !== "visible" && (box.left - out < clip.left - 0.5 || (around.overflowX === "hidden" && box.right + out > clip.right + 0.5)),
          around.overflowY !== "visible" && (box.top - out < clip.top - 0.5 || (around.overflowY === "hidden" && box.bottom + out > clip.bottom + 0.5)),
        ];
        if (e !== document.body && e !== document.documentElement && cut.some(Boolean) && e.scrollLeft === 0 && e.scrollTop === 0) {
          wrong(`focus is cut off by ${e.tagName}.${e.className}`, element);
          break;
        }
        if (around.position === "fixed") break;
      }
      const at = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
      if (at && box.width > 1 && element.getBoundingClientRect().width > 1 && !at.contains(element) && !element.contains(at) && !shown.contains(at) && getComputedStyle(at).position !== "absolute" && at.closest("#header, .actions")) wrong("what has the focus lies below something", element);
    }
    for (const each of open) each.open = true;
    was?.focus?.({ preventScroll: true });
    if (was === document.body) document.activeElement.blur();
    scrollTo(x, y);
  };

  const fits = () => {
    for (const field of all(":is(.form-row, .form-line, .policy-form .field) :is(input, select, textarea)")) {
      const box = field.getBoundingClientRect();
      if (seen(field) && box.width > 1 && box.right > innerWidth) wrong("runs off the screen", field);
    }
    const wider = document.documentElement.scrollWidth - innerWidth;
    if (wider > 0) found.push(`${wider} px too wide`);
    for (const heading of all("h1, h2, h3, th[scope=col], .state, button:not(.selector button)")) {
      if (!seen(heading)) continue;
      const style = getComputedStyle(heading);
      if (style.overflow !== "visible" && heading.scrollWidth > heading.clientWidth + 1 && heading.clientWidth > 1) wrong("cut off", heading);
    }
  };

  const page = () => {
    const heads = all("h1, h2, h3, h4, h5, h6").filter(seen);
    if (heads.filter((head) => head.tagName === "H1").length !== 1) found.push(`${heads.filter((head) => head.tagName === "H1").length} headings of the first level`);
    heads.reduce((before, head) => {
      const level = Number(head.tagName[1]);
      if (level > before + 1) wrong(`a heading of level ${level} below one of ${before}`, head);
      return level;
    }, 0);
    if (all("main, [role=main]").length !== 1) found.push(`${all("main, [role=main]").length} main parts`);
    const navs = all("nav").filter(seen);
    const names = navs.map((nav) => nav.getAttribute("aria-label") ?? document.getElementById(nav.getAttribute("aria-labelledby"))?.textContent ?? "");
    navs.forEach((nav, place) => { if (navs.length > 1 && (!names[place] || names.indexOf(names[place]) !== place)) wrong("a navigation that shares its name", nav); });
    const ids = all("[id]").map((element) => element.id);
    for (const id of new Set(ids.filter((each, place) => ids.indexOf(each) !== place))) found.push(`the id ${id} twice`);
    for (const attribute of ["aria-describedby", "aria-labelledby", "aria-controls", "for"]) {
      // The stock admin points labels and one hint at what its own script has replaced.
      for (const element of all(`[${attribute}]:not([disabled], .form-row:has(.selector) label)`)) {
        for (const id of element.getAttribute(attribute).split(/\s+/)) if (id && !document.getElementById(id)) wrong(`${attribute} leads to no ${id}`, element);
      }
    }
    const said = (element) => (element.getAttribute("aria-label") ?? element.getAttribute("aria-labelledby")?.split(/\s+/).map((id) => document.getElementById(id)?.textContent).join(" ")
      ?? [...element.labels ?? []].map((label) => label.textContent + all("img[alt]", label).map((image) => image.alt).join("")).join(" ")).trim() || (element.matches("input[type=submit], input[type=button]") ? element.value : "")
      || (element.matches("a, button, summary") ? (element.textContent + all("img[alt], svg[aria-label]", element).map((image) => image.alt ?? image.getAttribute("aria-label")).join("")).trim() : "") || element.title;
    for (const element of all("a[href], button, summary, input:not([type=hidden]), select, textarea")) if (seen(element) && !said(element) && !element.placeholder) wrong("a control without a name", element);
    for (const element of all("[aria-label], [aria-labelledby]")) {
      const visible = element.matches("a, button") && element.innerText?.trim().toLowerCase();
      const plain = (words) => words.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
      if (visible && !plain(said(element)).includes(plain(visible))) wrong("its name is not what stands on it", element);
    }
    if (!document.documentElement.lang) found.push("no language");
    if (!document.title) found.push("no title");
  };

  const looks = { text, targets, focus, fits, page };
  for (const what of wanted) looks[what]();
  return found;
}
