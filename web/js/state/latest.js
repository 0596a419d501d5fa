/** Tells answers that are still wanted from late ones: of another filter or page, or of a view that has ended. */
export class Latest {
  #turn = 0;

  /** @param {AbortSignal} signal of the view that asks */
  constructor(signal) {
    this.signal = signal;
  }

  /** Something is asked for. @returns {() => boolean} whether its answer comes too late to be shown */
  begin() {
    const turn = ++this.#turn;
    return () => this.signal.aborted || turn !== this.#turn;
  }
}
