// Hands the microphone's samples on in blocks of about a twentieth of a second, each with the number of its first.
class Blocks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.max(128, Math.round(sampleRate / 20 / 128) * 128));
    this.filled = 0;
    this.first = 0;
  }
  process([channels]) {
    if (!channels.length) return true;
    if (this.filled === 0) this.first = currentFrame;
    const quantum = channels[0].length;
    for (let k = 0; k < quantum; k++) {
      let sum = 0;
      for (const channel of channels) sum += channel[k];
      this.block[this.filled + k] = sum / channels.length;
    }
    this.filled += quantum;
    if (this.filled >= this.block.length) {
      this.port.postMessage([this.first, this.block.slice()]);
      this.filled = 0;
    }
    return true;
  }
}
registerProcessor("blocks", Blocks);
