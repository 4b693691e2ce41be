// What an engine could not do, in words for people.

export class EngineError extends Error {
  /**
   * @param {string} message one line: what went wrong, and what to do
   * @param {{status?: number, retryAfter?: number, cause?: unknown}} more `status` is an HTTP status, or 0 where nobody
   *   answered; `retryAfter` in seconds
   */
  constructor(message, { status = 0, retryAfter, cause } = {}) {
    super(message, { cause });
    this.name = "EngineError";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}
