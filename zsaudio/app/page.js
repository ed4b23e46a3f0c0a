// The parts of the page that Gradio has no component for: recordings, live sound, hits of a search. What comes from
// people (labels, names of files) is written as text only.
const FORMATS = ["csv", "tsv", "jsonl", "audacity", "raven", "rttm", "vtt", "srt", "textgrid", "table"];

const { make } = window.ZsViewer;

function downloads(parent, address) {
  const line = make(parent, "p", "zs-downloads", "Download ");
  for (const format of FORMATS) {
    line.append(" "); // where a narrow page may break the line
    const link = make(line, "a", "", format);
    link.href = address(format);
    link.download = "";
  }
  return line;
}

const parsed = (props) => {
  try { return JSON.parse(props.value || "null"); } catch { return null; }
};

// --- recordings ---

function recordings(element, props, watch) {
  const place = make(element, "div");
  const below = make(element, "div");
  let [viewer, shown] = [null, null];
  async function update() {
    const value = parsed(props);
    if (!value) {
      viewer?.remove();
      [viewer, shown] = [null, null];
      return below.replaceChildren();
    }
    const { desk, number, version } = value;
    const answer = await fetch(`zsaudio/${desk}/recordings/${number}/scene?version=${version}`).catch(() => null);
    if (!answer?.ok || parsed(props)?.version !== version) return;
    const scene = await answer.json();
    if (viewer && shown === number) viewer.update(scene);
    else {
      viewer?.remove();
      viewer = new ZsViewer(place, scene);
    }
    shown = number;
    below.replaceChildren();
    downloads(below, (format) => `zsaudio/${desk}/events?format=${format}&number=${number}`);
  }
  watch("value", update);
  update();
}

// --- live ---

class Live {
  constructor(element, props, watch) {
    this.box = make(element, "section", "zs-viewer zs-live");
    const head = make(this.box, "div", "zs-head");
    this.button = make(head, "button", "zs-start", "● Listen");
    this.button.type = "button";
    this.button.addEventListener("click", () => (this.socket ? this.stop() : this.start()));
    this.state = make(head, "p", "zs-text", "The microphone is off.");
    this.level = make(make(this.box, "div", "zs-level"), "i");
    this.bars = make(this.box, "div", "zs-bars");
    this.list = make(make(this.box, "div", "zs-table"), "table");
    this.body = make(this.list, "tbody");
    this.below = make(this.box, "div");
    this.props = props;
    this.delay = 0;
    this.events = 0;
    watch("value", () => this.configure());
  }

  async start() {
    this.fail("");
    if (!navigator.mediaDevices?.getUserMedia)
      return this.fail("The browser gives no microphone to this page: open it as http://localhost, or over https.");
    try {
      this.sound = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      return this.fail(`The browser gives no microphone to this page (${error.name}).`);
    }
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("zsaudio/static/worklet.js");
    this.node = new AudioWorkletNode(this.context, "blocks");
    this.context.createMediaStreamSource(this.sound).connect(this.node);
    const { desk } = parsed(this.props);
    const address = new URL(`zsaudio/${desk}/live`, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.addEventListener("open", () => {
      this.configure();
      this.button.textContent = "■ Stop";
      this.body.replaceChildren();
      this.below.replaceChildren();
      this.events = 0;
    });
    this.socket.addEventListener("message", (message) => this.take(JSON.parse(message.data)));
    this.socket.addEventListener("close", () => this.closed());
    this.captured = null;
    this.node.port.onmessage = ({ data: [first, block] }) => {
      if (this.socket?.readyState !== WebSocket.OPEN || !this.ready) return;
      this.captured ??= first;
      this.heardAt = [(first + block.length - this.captured) / this.context.sampleRate, performance.now()];
      const message = new ArrayBuffer(8 + 4 * block.length);
      new DataView(message).setFloat64(0, first, true);
      new Float32Array(message, 8).set(block);
      this.socket.send(message);
    };
  }

  configure() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const { labels, threshold, sensitivity } = parsed(this.props);
    this.socket.send(JSON.stringify({ rate: this.context.sampleRate, labels, threshold, sensitivity }));
  }

  stop() {
    this.node?.disconnect();
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send('{"end": true}');
    else this.closed();
  }

  closed() {
    this.sound?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.socket = this.context = null;
    this.ready = false;
    this.button.textContent = "● Listen";
    this.level.style.width = 0;
    if (!this.failed) this.state.textContent = "The microphone is off.";
    if (this.events)
      downloads(this.below, (format) => `zsaudio/${parsed(this.props).desk}/live/events?format=${format}`);
  }

  fail(text) {
    this.failed = Boolean(text);
    this.state.classList.toggle("zs-error", this.failed);
    if (text) this.state.textContent = text;
  }

  take(news) {
    if (news.error) return this.fail(news.error);
    if (news.labels) {
      this.ready = true;
      this.labels = news.labels;
      this.bars.replaceChildren();
      this.rows = news.labels.map(({ name, colour, threshold }) => {
        const row = make(this.bars, "div", "zs-bar");
        make(row, "span", "zs-name", name);
        const track = make(row, "div", "zs-track");
        const bar = make(track, "i");
        bar.style.background = colour;
        make(track, "b").style.left = `${threshold * 100}%`;
        return { row, bar, value: make(row, "span", "zs-value", "0.00") };
      });
    }
    if (news.scores) {
      news.scores.forEach((score, index) => {
        const { row, bar, value } = this.rows[index];
        bar.style.width = `${score * 100}%`;
        value.textContent = score.toFixed(2);
        row.classList.toggle("zs-heard", news.heard[index]);
      });
      if (this.heardAt) this.delay = this.heardAt[0] - news.at + (performance.now() - this.heardAt[1]) / 1000;
    }
    if (news.level !== undefined) {
      this.level.style.width = `${Math.min(100, ((news.level + 70) / 70) * 100)}%`;
      const lost = news.lost ? ` · ${news.lost.toFixed(1)} s of sound were lost` : "";
      this.state.textContent = `Listening at ${this.context?.sampleRate / 1000} kHz · ${Math.max(0, this.delay).toFixed(1)} s behind${lost}`;
      this.state.dataset.delay = this.delay.toFixed(3);
      this.state.dataset.lost = news.lost;
    }
    for (const [onset, offset, label, score] of news.events ?? []) {
      const row = document.createElement("tr");
      this.events += 1;
      make(row, "td", "", `${onset.toFixed(1)} s`);
      make(row, "td", "", `${(offset - onset).toFixed(1)} s long`);
      const name = make(row, "td", "zs-label");
      make(name, "span", "zs-dot").style.setProperty("--c", this.labels[label].colour);
      name.append(this.labels[label].name);
      make(row, "td", "", score.toFixed(2));
      this.body.prepend(row);
      if (this.body.children.length > 200) this.body.lastChild.remove();
    }
  }
}

// --- hits of a search ---

function hits(element, props, watch) {
  const box = make(element, "div");
  const audio = new Audio();
  let playing = null;
  function update() {
    box.replaceChildren();
    const value = parsed(props);
    if (!value) return;
    const frame = make(make(box, "section", "zs-viewer"), "div", "zs-table zs-hits");
    const body = make(make(frame, "table"), "tbody");
    value.hits.forEach(({ label, colour, score, clip, when }, number) => {
      const row = make(body, "tr");
      const play = make(make(row, "td"), "button", "", "▶");
      play.setAttribute("aria-label", `Play hit ${number + 1}`);
      play.addEventListener("click", () => {
        playing?.classList.remove("zs-chosen");
        (playing = row).classList.add("zs-chosen");
        audio.src = `zsaudio/${value.desk}/hits/${number}/sound?version=${value.version}`;
        audio.play().catch(() => {});
      });
      const name = make(row, "td", "zs-label");
      make(name, "span", "zs-dot").style.setProperty("--c", colour);
      name.append(label);
      const points = make(row, "td", "", score.toFixed(2));
      const bar = make(points, "span", "zs-score");
      bar.style.setProperty("--c", colour);
      bar.style.setProperty("--w", `${score * 100}%`);
      make(row, "td", "zs-file", clip);
      make(row, "td", "zs-length", when);
      const cell = make(row, "td");
      const buttons = [[true, "Yes"], [false, "No"]].map(([answer, text]) => {
        const button = make(cell, "button", "zs-answer", text);
        button.setAttribute("aria-pressed", "false");
        button.addEventListener("click", async () => {
          const was = button.getAttribute("aria-pressed") === "true";
          const body = JSON.stringify(was ? null : answer);
          const done = await fetch(`zsaudio/${value.desk}/hits/${number}/answer`, { method: "POST", body });
          if (done.ok) for (const each of buttons) each.setAttribute("aria-pressed", String(each === button && !was));
        });
        return button;
      });
    });
  }
  watch("value", update);
  update();
}

const live = (...given) => new Live(...given);

export { recordings, live, hits };
