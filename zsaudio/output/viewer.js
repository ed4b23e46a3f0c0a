// Shows a recording: spectrogram, score curves, events as bars and as a table. A click plays what it is on.
// It takes the data that zsaudio/output/scene.py makes, and writes text as text only, never as HTML.
"use strict";
(() => {
  const MARGIN_S = 0.5; // sound before and after an event
  const ROWS = 300; // rows of the table that are shown at first
  const LIGHT = [[247, 248, 251], [186, 198, 222], [92, 112, 162], [30, 40, 78]];
  const DARK = [[22, 25, 32], [44, 60, 98], [122, 146, 200], [246, 236, 214]];

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function make(parent, tag, name = "", text = "") {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  }

  function clock(seconds, digits) {
    const unit = 10 ** digits;
    const all = Math.round(Math.max(0, seconds) * unit);
    const [h, m, s] = [Math.floor(all / 3600 / unit), Math.floor(all / 60 / unit) % 60, (all % (60 * unit)) / unit];
    const two = (number, places = 0) => number.toFixed(places).padStart(places ? places + 3 : 2, "0");
    return h ? `${h}:${two(m)}:${two(s, digits)}` : `${m}:${two(s, digits)}`;
  }

  const isDark = () => document.body.classList.contains("dark") || document.documentElement.classList.contains("dark");

  function toned(spectrogram, dark) {
    const canvas = document.createElement("canvas");
    const { columns, bands } = spectrogram;
    [canvas.width, canvas.height] = [columns, bands];
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, bands);
    const values = bytes(spectrogram.values);
    const stops = dark ? DARK : LIGHT;
    for (let band = 0; band < bands; band++) {
      for (let column = 0; column < columns; column++) {
        const place = (values[column * bands + band] / 255) * 2.999;
        const low = Math.floor(place), share = place - low;
        const at = ((bands - 1 - band) * columns + column) * 4;
        for (let c = 0; c < 3; c++) image.data[at + c] = stops[low][c] * (1 - share) + stops[low + 1][c] * share;
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // The pictured stretch [from, to] of a recording; a zoomed view may have one of its own.
  class Detail {
    constructor(data) {
      [this.from, this.to, this.spectrogram] = [data.from, data.to, data.spectrogram];
      this.edges = new Float32Array(bytes(data.edges).buffer);
      this.scores = bytes(data.scores);
      this.images = {};
    }
    image(dark) {
      return (this.images[dark] ??= toned(this.spectrogram, dark));
    }
  }

  class Viewer {
    constructor(root, scene) {
      [this.root, this.scene] = [root, scene];
      [this.from, this.to] = [0, scene.duration];
      [this.chosen, this.cursor, this.stopAt] = [-1, null, 0];
      this.whole = this.detail = new Detail(scene.overview);
      this.audio = new Audio();
      this.build();
      this.observer = new ResizeObserver(() => this.draw());
      this.observer.observe(this.canvas.parentElement);
      this.themes = new MutationObserver(() => this.draw());
      this.themes.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    }

    // Takes other events of the same recording; what is looked at stays.
    update(scene) {
      const { from, to, cursor } = this;
      this.stop();
      this.observer.disconnect();
      this.scene = scene;
      this.chosen = -1;
      this.whole = this.detail = new Detail(scene.overview);
      this.build();
      this.observer.observe(this.canvas.parentElement);
      this.cursor = cursor;
      this.show(from, scene.duration > to ? to : scene.duration);
    }

    remove() {
      this.stop();
      this.observer.disconnect();
      this.themes.disconnect();
      this.root.replaceChildren();
    }

    build() {
      const { root, scene } = this;
      root.replaceChildren();
      const box = make(root, "section", "zs-viewer");
      const head = make(box, "div", "zs-head");
      const text = make(head, "div", "zs-text");
      make(text, "h2", "", scene.title);
      make(text, "p", "", scene.summary);
      const buttons = make(head, "div", "zs-buttons");
      this.playing = this.button(buttons, "▶ Play", "Play or stop (space)", () => this.toggle());
      this.button(buttons, "−", "Zoom out", () => this.zoom(2));
      this.button(buttons, "+", "Zoom in", () => this.zoom(0.5));
      this.button(buttons, "All", "Show the whole recording", () => this.show(0, scene.duration));
      if (scene.error) make(box, "p", "zs-error", scene.error);
      this.canvas = make(make(box, "div", "zs-plot"), "canvas");
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", `Spectrogram, scores and events of ${scene.title}`);
      this.listen();
      this.note = make(box, "p", "zs-note", scene.note);
      this.buildTable(box);
      if (scene.settings.length) {
        const settings = make(box, "details", "zs-settings");
        make(settings, "summary", "", "Settings");
        const list = make(settings, "dl");
        for (const [name, value] of scene.settings) {
          make(list, "dt", "", name);
          make(list, "dd", "", value);
        }
      }
    }

    button(parent, text, title, act) {
      const button = make(parent, "button", "", text);
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-label", title);
      button.addEventListener("click", act);
      return button;
    }

    buildTable(box) {
      const { events, labels } = this.scene;
      this.rows = [];
      if (!events.length) return;
      const frame = make(box, "div", "zs-table");
      const table = make(frame, "table");
      const head = make(make(table, "thead"), "tr");
      for (const name of ["", "From", "To", "Length", "Label", "Score"])
        make(head, "th", name ? `zs-${name.toLowerCase()}` : "", name);
      const body = make(table, "tbody");
      const add = (first, last) => {
        for (const [index, [onset, offset, label, score]] of events.slice(first, last).entries()) {
          const row = make(body, "tr");
          const play = this.button(make(row, "td"), "▶", `Play ${labels[label].name} at ${clock(onset, 1)}`, () => {});
          play.disabled = !this.hasSound(onset);
          make(row, "td", "", this.time(onset, 2));
          make(row, "td", "zs-to", this.time(offset, 2));
          make(row, "td", "zs-length", `${(offset - onset).toFixed(2)} s`);
          const name = make(row, "td", "zs-label");
          make(name, "span", "zs-dot").style.setProperty("--c", labels[label].colour);
          name.append(labels[label].name);
          const value = make(row, "td", "", score.toFixed(2));
          const bar = make(value, "span", "zs-score");
          bar.style.setProperty("--c", labels[label].colour);
          bar.style.setProperty("--w", `${score * 100}%`);
          row.addEventListener("click", () => this.playEvent(first + index));
          this.rows.push(row);
        }
      };
      add(0, ROWS);
      if (events.length > ROWS) {
        const more = this.button(box, `Show all ${events.length} events`, "Show all events", () => {
          more.remove();
          add(ROWS);
        });
        more.className = "zs-more";
        frame.after(more);
      }
    }

    // Times of day where the start of the recording is known.
    time(seconds, digits) {
      return this.scene.started === null ? clock(seconds, digits) : clock((this.scene.started + seconds) % 86400, digits);
    }

    // --- sound ---

    hasSound(at) {
      return Boolean(this.scene.audio_url) || this.segment(at) !== undefined;
    }

    segment(at) {
      return this.scene.audio.find(([start, end]) => start - 0.05 <= at && at < end);
    }

    playEvent(index) {
      this.chosen = index;
      const [onset, offset] = this.scene.events[index];
      if (onset < this.from || offset > this.to) {
        const span = Math.max(this.to - this.from, (offset - onset) * 1.5);
        this.show((onset + offset - span) / 2, (onset + offset + span) / 2);
      }
      this.rows.forEach((row, number) => row.classList.toggle("zs-chosen", number === index));
      this.play(Math.max(0, onset - MARGIN_S), offset + MARGIN_S);
    }

    play(from, to) {
      let found = this.segment(from) ?? this.segment(from + MARGIN_S);
      if (!found && this.scene.audio_url) {
        const end = Math.min(to, from + 600, this.scene.duration);
        found = [from, end, this.scene.audio_url.replace("{from}", from.toFixed(3)).replace("{to}", end.toFixed(3))];
      }
      if (!found) {
        this.stop();
        this.cursor = from;
        return this.draw();
      }
      const [start, end, source] = found;
      this.stopAt = Math.min(to, end);
      this.start = start;
      if (this.audio.src !== source && this.source !== source) this.audio.src = this.source = source;
      const begin = () => {
        this.audio.currentTime = Math.max(0, from - start);
        this.audio.play().catch((error) => { if (error.name !== "AbortError") this.fail(error); });
        this.playing.textContent = "■ Stop";
        this.follow();
      };
      if (this.audio.readyState >= 1) begin();
      else this.audio.addEventListener("loadedmetadata", begin, { once: true });
    }

    fail() {
      this.stop();
      this.note.textContent = "The sound cannot be played in this browser.";
    }

    follow() {
      cancelAnimationFrame(this.frame);
      const step = () => {
        this.cursor = this.start + this.audio.currentTime;
        if (this.cursor >= this.stopAt || this.audio.ended) this.stop();
        else this.frame = requestAnimationFrame(step);
        this.draw();
      };
      this.frame = requestAnimationFrame(step);
    }

    stop() {
      cancelAnimationFrame(this.frame);
      this.audio.pause();
      this.playing.textContent = "▶ Play";
    }

    toggle() {
      if (!this.audio.paused) return this.stop();
      if (this.chosen >= 0 && this.cursor === null) return this.playEvent(this.chosen);
      const at = this.cursor ?? this.from;
      this.play(at < this.to - 0.1 && at >= this.from ? at : this.from, this.to);
    }

    // --- zoom ---

    zoom(factor, around = this.cursor ?? (this.from + this.to) / 2) {
      this.show(around - (around - this.from) * factor, around + (this.to - around) * factor);
    }

    show(from, to) {
      const all = this.scene.duration;
      const span = Math.min(all, Math.max(0.25, to - from));
      this.from = Math.min(Math.max(0, from), all - span);
      this.to = this.from + span;
      this.detail = this.detail.from <= this.from && this.detail.to >= this.to ? this.detail : this.whole;
      this.draw();
      clearTimeout(this.timer);
      if (this.scene.detail_url && span < 0.7 * (this.detail.to - this.detail.from))
        this.timer = setTimeout(() => this.fetchDetail(), 250);
    }

    async fetchDetail() {
      const span = this.to - this.from;
      const [from, to] = [Math.max(0, this.from - span / 4), Math.min(this.scene.duration, this.to + span / 4)];
      const url = this.scene.detail_url.replace("{from}", from.toFixed(3)).replace("{to}", to.toFixed(3));
      const answer = await fetch(url).catch(() => null);
      if (!answer?.ok) return;
      this.detail = new Detail(await answer.json());
      this.show(this.from, this.to);
    }

    listen() {
      const { canvas } = this;
      let held = null;
      const at = (event) => this.timeAt(event.clientX - canvas.getBoundingClientRect().left);
      canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.shiftKey) return; // the page scrolls
        event.preventDefault();
        this.zoom(event.deltaY + event.deltaX > 0 ? 1.25 : 0.8, at(event));
      }, { passive: false });
      canvas.addEventListener("pointerdown", (event) => {
        held = { x: event.clientX, from: this.from, to: this.to, moved: false };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!held) return;
        const shift = event.clientX - held.x;
        held.moved ||= Math.abs(shift) > 4;
        const seconds = (shift / this.width) * (held.to - held.from);
        if (held.moved && held.to - held.from < this.scene.duration) this.show(held.from - seconds, held.to - seconds);
      });
      canvas.addEventListener("pointerup", (event) => {
        if (held && !held.moved) this.click(at(event), event.clientY - canvas.getBoundingClientRect().top);
        held = null;
      });
      canvas.addEventListener("dblclick", (event) => this.zoom(0.4, at(event)));
      canvas.addEventListener("keydown", (event) => {
        const span = this.to - this.from;
        const act = {
          " ": () => this.toggle(),
          "+": () => this.zoom(0.5),
          "-": () => this.zoom(2),
          ArrowLeft: () => this.show(this.from - span / 4, this.to - span / 4),
          ArrowRight: () => this.show(this.from + span / 4, this.to + span / 4),
          ArrowDown: () => this.playEvent(Math.min(this.scene.events.length - 1, this.chosen + 1)),
          ArrowUp: () => this.playEvent(Math.max(0, this.chosen - 1)),
        }[event.key];
        if (!act || (event.key.startsWith("Arrow") && !this.scene.events.length)) return;
        event.preventDefault();
        act();
      });
    }

    click(seconds, y) {
      const lane = this.lanes?.find(({ top, bottom }) => y >= top && y < bottom);
      const near = ((this.to - this.from) / this.width) * 4;
      const hit = this.scene.events.findIndex(
        ([onset, offset, label]) => seconds >= onset - near && seconds <= offset + near && (!lane || lane.label === label),
      );
      if (hit >= 0 && (lane || !this.hasSound(seconds))) return this.playEvent(hit);
      this.play(Math.max(0, seconds), this.to);
    }

    // --- picture ---

    timeAt(x) {
      return this.from + ((x - this.left) / this.width) * (this.to - this.from);
    }

    draw() {
      const total = this.canvas.parentElement.clientWidth;
      if (!total) return;
      const { scene } = this;
      const dark = isDark();
      const narrow = total < 640;
      const [axis, tall, pitch] = [22, narrow ? 120 : 170, narrow ? 46 : 42];
      this.left = narrow ? 0 : Math.min(190, Math.max(90, ...scene.lanes.map((lane) => scene.labels[lane].name.length * 7 + 16)));
      this.width = total - this.left - 1;
      const height = tall + axis + scene.lanes.length * pitch + 2;
      const scale = window.devicePixelRatio || 1;
      const { canvas } = this;
      if (canvas.width !== Math.round(total * scale) || canvas.height !== Math.round(height * scale)) {
        [canvas.width, canvas.height] = [Math.round(total * scale), Math.round(height * scale)];
        canvas.style.height = `${height}px`;
      }
      const g = canvas.getContext("2d");
      g.setTransform(scale, 0, 0, scale, 0, 0);
      g.clearRect(0, 0, total, height);
      g.font = "12px system-ui, sans-serif";
      const x = (seconds) => this.left + ((seconds - this.from) / (this.to - this.from)) * this.width;
      const style = getComputedStyle(canvas);
      const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map((name) => style.getPropertyValue(name));
      g.save();
      g.beginPath();
      g.rect(this.left, 0, this.width, height);
      g.clip();
      g.imageSmoothingEnabled = true;
      for (const detail of new Set([this.whole, this.detail]))
        g.drawImage(detail.image(dark), x(detail.from), 0, x(detail.to) - x(detail.from), tall);
      this.drawChosen(g, x, height, ink);
      this.drawTimes(g, x, tall, axis, height, quiet, line, narrow);
      this.lanes = scene.lanes.map((label, number) => {
        const top = tall + axis + number * pitch;
        this.drawLane(g, x, label, number, top + (narrow ? 16 : 4), top + pitch - 4, line, quiet);
        return { label, top, bottom: top + pitch };
      });
      if (this.cursor !== null) {
        g.fillStyle = dark ? "#ffcf70" : "#d1495b";
        g.fillRect(x(this.cursor) - 0.75, 0, 1.5, height);
      }
      g.restore();
      this.drawNames(g, tall, ink, quiet, narrow);
    }

    drawChosen(g, x, height, ink) {
      if (this.chosen < 0) return;
      const [onset, offset, label] = this.scene.events[this.chosen];
      g.globalAlpha = 0.18;
      g.fillStyle = this.scene.labels[label].colour;
      g.fillRect(x(onset), 0, Math.max(2, x(offset) - x(onset)), height);
      g.globalAlpha = 1;
    }

    drawTimes(g, x, tall, axis, height, quiet, line, narrow) {
      const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
      const wanted = ((this.to - this.from) / this.width) * (narrow ? 70 : 90);
      const step = steps.find((each) => each >= wanted) ?? 86400;
      const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
      g.textAlign = "center";
      g.textBaseline = "middle";
      for (let k = Math.ceil(this.from / step); k * step <= this.to; k++) {
        const at = x(k * step);
        g.fillStyle = line;
        g.fillRect(at, tall, 1, height - tall);
        if (at < this.left + 16 || at > this.left + this.width - 20) continue;
        g.fillStyle = quiet;
        g.fillText(this.time(k * step, digits), at, tall + axis / 2 + 1);
      }
    }

    drawLane(g, x, label, column, top, bottom, line, quiet) {
      const { scene, detail } = this;
      const { colour, threshold } = scene.labels[label];
      const [bar, base] = [7, bottom];
      const room = bottom - top - bar - 3;
      const y = (score) => base - score * room;
      g.fillStyle = line;
      g.fillRect(this.left, base, this.width, 1);
      const n = scene.lanes.length;
      g.beginPath();
      g.moveTo(x(detail.edges[0]), base);
      for (let k = 0; k + 1 < detail.edges.length; k++) {
        const height = y(detail.scores[k * n + column] / 255);
        g.lineTo(x(detail.edges[k]), height);
        g.lineTo(x(detail.edges[k + 1]), height);
      }
      g.lineTo(x(detail.edges[detail.edges.length - 1]), base);
      g.fillStyle = colour;
      g.globalAlpha = 0.3;
      g.fill();
      g.globalAlpha = 0.9;
      g.strokeStyle = colour;
      g.lineWidth = 1;
      g.stroke();
      g.globalAlpha = 0.55;
      g.setLineDash([4, 4]);
      g.strokeStyle = quiet;
      g.beginPath();
      g.moveTo(this.left, y(threshold));
      g.lineTo(this.left + this.width, y(threshold));
      g.stroke();
      g.setLineDash([]);
      g.globalAlpha = 1;
      g.fillStyle = colour;
      for (const [onset, offset, of] of scene.events) {
        if (of !== label || offset < this.from || onset > this.to) continue;
        const wide = Math.max(3, x(offset) - x(onset));
        g.beginPath();
        g.roundRect(x(onset), top, wide, bar - 1, 3);
        g.fill();
      }
    }

    drawNames(g, tall, ink, quiet, narrow) {
      g.textBaseline = "middle";
      for (const { label, top, bottom } of this.lanes) {
        const { name, colour } = this.scene.labels[label];
        g.textAlign = narrow ? "left" : "right";
        const middle = narrow ? top + 8 : (top + bottom) / 2;
        if (narrow) {
          g.fillStyle = colour;
          g.beginPath();
          g.roundRect(2, middle - 4, 8, 8, 2);
          g.fill();
        }
        g.fillStyle = ink;
        g.fillText(shortened(g, name, narrow ? this.width - 20 : this.left - 14), narrow ? 16 : this.left - 10, middle);
      }
      if (narrow) return;
      g.fillStyle = quiet;
      g.textAlign = "right";
      for (const [text, share] of this.detail.spectrogram.ticks)
        g.fillText(text, this.left - 10, tall * (1 - share));
    }
  }

  function shortened(g, text, room) {
    if (g.measureText(text).width <= room) return text;
    let end = text.length;
    while (end > 1 && g.measureText(text.slice(0, end) + "…").width > room) end--;
    return text.slice(0, end) + "…";
  }

  Viewer.make = make;
  window.ZsViewer = Viewer;
})();
