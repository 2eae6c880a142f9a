"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };

  // Figures: drawn when they come into view, redrawn when the page turns dark or light.

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const templates = read("templates");
  const drawn = new Map();
  const config = { ...read("config"), displayModeBar: coarse || innerWidth < 700 ? false : "hover" };

  const layoutOf = (figure, element) => {
    const layout = { ...figure.layout, template: dark.matches ? templates.dark : templates.light };
    const margin = { ...templates.light.layout.margin, ...layout.margin };
    if (element.clientWidth < 600) layout.margin = { ...margin, l: 44, r: 8 };
    if (coarse) layout.dragmode = false;
    return structuredClone(layout);
  };

  const draw = (element) => {
    if (drawn.has(element) || !element.offsetParent) return;
    const figure = read(element.dataset.source);
    drawn.set(element, figure);
    Plotly.newPlot(element, figure.data, layoutOf(figure, element), config).then(() => {
      element.on("plotly_relayout", (change) => fitHeight(element, figure, change));
    });
  };

  dark.addEventListener("change", () => {
    for (const [element, figure] of drawn) {
      Plotly.react(element, figure.data, layoutOf(figure, element), config);
      for (const button of element.closest("section").querySelectorAll("[data-span]")) {
        button.setAttribute("aria-pressed", String(button.dataset.span === "all"));
      }
    }
  });

  // After a zoom in time the price and equity axes show what is left in view.
  const fitHeight = (element, figure, change) => {
    const whole = change["xaxis.autorange"] || change["yaxis.autorange"];
    const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
    const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
    if (whole || from === undefined || "yaxis.range[0]" in change || figure.layout.xaxis?.type !== "date") return;
    const start = moment(from), end = moment(to), isLog = element.layout.yaxis.type === "log";
    let low = Infinity, high = -Infinity;
    for (const trace of figure.data) {
      if ((trace.yaxis ?? "y") !== "y" || !trace.x) continue;
      const lows = trace.low ?? trace.y, highs = trace.high ?? trace.y;
      trace.moments ??= trace.x.map(moment);
      for (let i = 0; i < lows.length; i += 1) {
        if (trace.moments[i] < start || trace.moments[i] > end || lows[i] === null) continue;
        low = Math.min(low, lows[i]);
        high = Math.max(high, highs[i]);
      }
    }
    if (!(high >= low) || (isLog && low <= 0)) return;
    const pad = (high - low || Math.abs(high)) * 0.05;
    const range = isLog ? [Math.log10(low) - 0.01, Math.log10(high) + 0.01] : [low - pad, high + pad];
    Plotly.relayout(element, { "yaxis.range[0]": range[0], "yaxis.range[1]": range[1] });
  };
  const moment = (text) => (text === null ? NaN : Date.parse(String(text).trim().replace(" ", "T") + (String(text).length > 10 ? "Z" : "")));

  const spanOf = (figure) => {
    let first = Infinity, last = -Infinity;
    const longest = figure.data.filter((trace) => trace.x && trace.x.length)[0];
    if (longest) { first = moment(longest.x[0]); last = moment(longest.x[longest.x.length - 1]); }
    return [first, last];
  };

  const figureIn = (element) => [...element.closest("section").querySelectorAll(".figure")].find((figure) => figure.offsetParent);

  for (const button of document.querySelectorAll("[data-span]")) {
    button.addEventListener("click", () => {
      const element = figureIn(button), figure = drawn.get(element);
      if (!figure) return;
      for (const other of button.parentElement.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", String(other === button));
      if (button.dataset.span === "all") {
        Plotly.relayout(element, { "xaxis.autorange": true, "yaxis.autorange": true });
        return;
      }
      const [first, last] = spanOf(figure);
      const start = new Date(last);
      if (button.dataset.span === "ytd") start.setUTCMonth(0, 1), start.setUTCHours(0, 0, 0, 0);
      else start.setTime(last - Number(button.dataset.span) * 86400000);
      const range = [Math.max(first, start.getTime()), last].map((time) => new Date(time).toISOString().slice(0, 19));
      // All panels at once: axes that match each other follow the one that was left on its own.
      const axes = Object.keys(element.layout).filter((name) => /^xaxis\d*$/.test(name));
      Plotly.relayout(element, Object.fromEntries(axes.flatMap((name) => [0, 1].map((end) => [`${name}.range[${end}]`, range[end]]))));
    });
  }

  for (const button of document.querySelectorAll("[data-log]")) {
    button.addEventListener("click", () => {
      const element = figureIn(button), figure = drawn.get(element);
      if (!figure) return;
      const isLog = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isLog));
      figure.layout.yaxis.type = isLog ? "log" : "linear";
      Plotly.relayout(element, { "yaxis.type": figure.layout.yaxis.type, "yaxis.autorange": true });
    });
  }

  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.addEventListener("click", () => {
      for (const other of tab.parentElement.querySelectorAll("[role=tab]")) {
        other.setAttribute("aria-selected", String(other === tab));
        document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
      }
      const section = tab.closest("section");
      for (const button of section.querySelectorAll("[data-span]")) button.setAttribute("aria-pressed", String(button.dataset.span === "all"));
      const figure = section.querySelector("[role=tabpanel]:not([hidden]) .figure");
      const log = section.querySelector("[data-log]");
      draw(figure);
      if (log) log.setAttribute("aria-pressed", String(drawn.get(figure).layout.yaxis.type === "log"));
    });
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "400px" });
  for (const element of document.querySelectorAll(".figure")) watcher.observe(element);
  addEventListener("beforeprint", () => document.querySelectorAll(".figure").forEach(draw));

  // Long tables: one page of rows in the document at a time.

  const fixed = (digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const whole = fixed(0), cents = fixed(2), four = fixed(4);
  const significant = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });
  const small = new Intl.NumberFormat("en-US", { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
  const signed = (text, value) => (/[1-9]/.test(text) ? (value < 0 ? "\u2212" : "+") + text : text);
  const minus = (text, value) => (value < 0 && /[1-9]/.test(text) ? "\u2212" + text : text);
  const money = (value) => "$" + (Math.abs(value) >= 99999.995 ? whole : cents).format(Math.abs(value));
  const words = (text) => text.replaceAll("_", " ");
  const two = (number) => String(number).padStart(2, "0");
  const span = (seconds) => {
    const size = Math.abs(seconds);
    if (size < 60) return Math.round(size) + " s";
    const units = [["d", 86400], ["h", 3600], ["min", 60]];
    const at = units.findIndex((unit) => size >= unit[1]);
    const count = Math.floor(size / units[at][1]), next = units[at + 1];
    const rest = next ? Math.floor((size - count * units[at][1]) / next[1]) : 0;
    return whole.format(count) + " " + units[at][0] + (rest ? ` ${rest} ${next[0]}` : "");
  };
  const writers = {
    text: (value) => value,
    code: words,
    side: (value) => value,
    status: words,
    count: (value) => whole.format(value),
    usd: (value) => minus(money(value), value),
    profit: (value) => signed(money(value), value),
    percent: (value) => minus(cents.format(Math.abs(value) * 100) + " %", value),
    change: (value) => signed(cents.format(Math.abs(value) * 100) + " %", value),
    amount: (value) => minus(significant.format(Math.abs(value)), value),
    price: (value) => (value >= 1000 || value === 0 ? cents : value >= 1 ? four : small).format(value),
    duration: span,
    time: (value) => {
      const at = new Date(value * 1000);
      const seconds = at.getUTCSeconds() ? ":" + two(at.getUTCSeconds()) : "";
      return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${seconds}`;
    },
  };
  const left = new Set(["text", "code", "side", "status", "time"]);
  const tone = (kind, value) => {
    if (kind === "side") return value === "buy" ? "gain" : "loss";
    if (kind === "status") return value === "failed" || value === "frozen" ? "loss" : "";
    return (kind === "profit" || kind === "change") && value ? (value > 0 ? "gain" : "loss") : "";
  };

  class LongTable {
    constructor(element) {
      this.data = read(element.dataset.source);
      this.size = Number(element.dataset.size);
      this.isWide = element.dataset.wide === "true";
      this.page = 0;
      this.order = null;
      this.rows = Array.from({ length: this.data.rows }, (_, row) => row);
      this.chosen = this.rows;
      const scroll = make("div", { class: "scroll" }), table = make("table");
      this.head = make("tr");
      this.body = make("tbody");
      this.data.columns.forEach((column, position) => this.head.append(this.heading(column, position)));
      const top = make("thead");
      top.append(this.head);
      table.append(top, this.body);
      scroll.append(table);
      this.counted = make("span", { class: "counted", "aria-live": "polite" });
      this.steps = [["\u00ab First", () => 0], ["\u2039 Previous", () => this.page - 1], ["Next \u203a", () => this.page + 1], ["Last \u00bb", () => this.last()]]
        .map(([text, target]) => {
          const button = make("button", { type: "button" }, text);
          button.addEventListener("click", () => { this.page = target(); this.show(); });
          return button;
        });
      const pager = make("div", { class: "pager" });
      pager.append(this.counted, ...this.steps);
      element.append(scroll, pager);
      const section = element.closest("section");
      section.querySelector("input")?.addEventListener("input", (event) => this.search(event.target.value));
      section.querySelector("[data-download]")?.addEventListener("click", (event) => this.download(event.currentTarget.dataset.download));
      this.show();
    }

    heading(column, position) {
      const cell = make("th", { scope: "col", tabindex: "0", class: left.has(column.kind) ? "text" : "" }, column.label);
      const sort = () => this.sort(position);
      cell.addEventListener("click", sort);
      cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
      return cell;
    }

    write(column, row) {
      const value = column.values[row];
      return value === null || value === "" ? "" : writers[column.kind](value);
    }

    last() { return Math.max(0, Math.ceil(this.chosen.length / this.size) - 1); }

    sort(position) {
      const isDown = this.order?.position === position && !this.order.isDown;
      this.order = { position, isDown };
      const values = this.data.columns[position].values, sign = isDown ? -1 : 1;
      const isAbsent = (value) => value === null || value === "";
      const compare = (a, b) => {
        if (isAbsent(values[a]) || isAbsent(values[b])) return isAbsent(values[a]) - isAbsent(values[b]) || a - b;
        if (values[a] === values[b]) return a - b;
        return values[a] < values[b] ? -sign : sign;
      };
      this.rows.sort(compare);
      this.chosen = this.chosen.length === this.rows.length ? this.rows : this.chosen.sort(compare);
      [...this.head.children].forEach((cell, at) => {
        if (at === position) cell.setAttribute("aria-sort", isDown ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
      this.page = 0;
      this.show();
    }

    search(text) {
      const sought = text.toLowerCase().split(/\s+/).filter(Boolean);
      this.texts ??= Array.from({ length: this.data.rows }, (_, row) => this.data.columns.map((column) => this.write(column, row)).join(" ").toLowerCase());
      this.chosen = sought.length ? this.rows.filter((row) => sought.every((word) => this.texts[row].includes(word))) : this.rows;
      this.page = 0;
      this.show();
    }

    show() {
      this.page = Math.min(Math.max(this.page, 0), this.last());
      const start = this.page * this.size, shown = this.chosen.slice(start, start + this.size);
      this.body.replaceChildren(...shown.map((row) => {
        const line = make("tr");
        line.append(...this.data.columns.map((column) => {
          const text = this.write(column, row), isText = left.has(column.kind);
          const names = [isText ? "text" : "", this.isWide && column.kind === "text" ? "wide" : "", tone(column.kind, column.values[row])];
          const cell = make("td", { class: names.filter(Boolean).join(" ") }, text);
          if (column.kind === "text" && text.length > 40 && !this.isWide) cell.title = text;
          return cell;
        }));
        return line;
      }));
      if (!shown.length) {
        const line = make("tr"), cell = make("td", { class: "empty", colspan: String(this.data.columns.length) }, "Nothing found");
        line.append(cell);
        this.body.append(line);
      }
      const total = this.chosen.length === this.data.rows ? "" : ` (${whole.format(this.data.rows)} in all)`;
      this.counted.textContent = shown.length ? `${whole.format(start + 1)}\u2013${whole.format(start + shown.length)} of ${whole.format(this.chosen.length)}${total}` : "";
      this.steps.forEach((button, at) => {
        button.disabled = at < 2 ? this.page === 0 : this.page === this.last();
        button.hidden = this.last() === 0;
      });
    }

    download(name) {
      const quote = (value) => {
        const text = String(value ?? "");
        const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
        return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
      };
      const plain = (column, row) => (column.kind === "time" && column.values[row] !== null ? new Date(column.values[row] * 1000).toISOString() : column.values[row]);
      const lines = [this.data.columns.map((column) => quote(column.label)).join(",")];
      for (const row of this.chosen) lines.push(this.data.columns.map((column) => quote(plain(column, row))).join(","));
      const link = make("a", { href: URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" })), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
  }

  for (const element of document.querySelectorAll(".long")) new LongTable(element);
})();
