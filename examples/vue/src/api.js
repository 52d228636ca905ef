/**
 * axios for the shutdown scheduler: address, API key, timeout, errors as sentences, patience while it is busy.
 *
 * In a browser leave the key out: whoever opens the page can read it. Let the back end or the proxy add it, as
 * vite.config.js does for development.
 */
import axios from 'axios'

/** What the service refused, in its own words. */
export class SchedulerError extends Error {
  /**
   * @param {string} message
   * @param {number|null} status HTTP status; null if no answer came
   * @param {{loc: (string|number)[], msg: string}[]} mistakes where each one is
   */
  constructor(message, status = null, mistakes = []) {
    super(message)
    this.name = 'SchedulerError'
    this.status = status
    this.mistakes = mistakes
  }
}

// "Not now": nothing was done, so that asking again is safe.
const BUSY = [429, 503]

/**
 * @param {object} options
 * @param {string} [options.baseURL] of the service or of the back end before it; the page's own origin if left out
 * @param {string} [options.apiKey]
 * @param {number} [options.timeoutMs] for one answer; more than the longest time_budget_ms that is asked for
 * @param {number} [options.maxWaitMs] how long to be patient in all while the service says that it is busy
 */
export function createApi({ baseURL = '', apiKey = '', timeoutMs = 90_000, maxWaitMs = 15_000 } = {}) {
  const api = axios.create({
    baseURL,
    timeout: timeoutMs,
    headers: apiKey ? { Authorization: `Bearer ${apiKey}` } : {}
  })
  const checked = (response) => {
    if (response.data && typeof response.data === 'string') {
      // A page instead of JSON, with status 200: of a login that has run out, or of a proxy.
      throw new SchedulerError('收到的不是排程服务的答复（登录已过期？）', response.status)
    }
    return response
  }
  api.interceptors.response.use(checked, async (error) => {
    const { config, response } = error
    // At least a second: a proxy may say 0, and asking again at once would have no end.
    const waitMs = 1000 * Math.max(1, Number(response?.headers['retry-after']))
    const waitedMs = (config?.waitedMs ?? 0) + waitMs
    if (BUSY.includes(response?.status) && waitedMs <= maxWaitMs) {
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      return api.request({ ...config, waitedMs })
    }
    throw toSchedulerError(error)
  })
  return api
}

function toSchedulerError(error) {
  const { response } = error
  if (!response) {
    const isLate = error.code === 'ECONNABORTED' || error.code === 'ETIMEDOUT'
    return new SchedulerError(isLate ? '排程服务超时' : '无法连接排程服务')
  }
  const { detail, errors } = response.data ?? {}
  return new SchedulerError(detail ?? `排程服务返回 ${response.status}`, response.status, errors ?? [])
}

export default createApi({ baseURL: import.meta.env?.VITE_SCHEDULER_URL ?? '' })
