/**
 * The component, mounted, against the service at SCHEDULER_URL with SCHEDULER_KEY (scope run) and an active EXPERIMENT.
 *
 * SCHEDULER_BURST: how many requests the service lets through at once, if it has a limit that is to be tried.
 */
import { flushPromises, mount } from '@vue/test-utils'
import { describe, expect, it, vi } from 'vitest'
import { createStore } from 'vuex'
import ShutdownSchedule from '../src/ShutdownSchedule.vue'
import { createApi, SchedulerError } from '../src/api.js'

const { SCHEDULER_URL: baseURL, SCHEDULER_KEY: apiKey, EXPERIMENT: experiment, SCHEDULER_BURST: burst } = process.env
const HOURS = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
const api = createApi({ baseURL, apiKey })

function mounted(axios = api) {
  const store = createStore({ state: { user: { id: 7 } } })
  return mount(ShutdownSchedule, { props: { axios, experiment }, global: { plugins: [store] } })
}

async function submitted(page) {
  await page.get('form').trigger('submit')
  expect(page.get('button[type=submit]').text()).toBe('计算中…')
  await settled(page)
}

async function settled(page) {
  await vi.waitUntil(() => !page.vm.isRunning, { timeout: 20_000 })
  await flushPromises()
}

describe('a run', () => {
  it('shows the schedule, its model and a bar for every step', async () => {
    const page = mounted()
    await submitted(page)
    expect(page.find('.error').exists()).toBe(false)
    expect(page.get('.makespan').text()).toBe('52.87 h')
    expect(page.vm.modelInfo).toMatchObject({ user_id: '7', experiment, reason: 'assigned' })
    expect(page.get('.model').text()).toContain(page.vm.modelInfo.model_used)
    const bars = page.findAll('.bar')
    expect(bars.map((bar) => bar.find('text').text()).sort()).toEqual([...page.vm.stepNames].sort())
    const ends = bars.map((bar) => Number(bar.get('rect').attributes('x')) + Number(bar.get('rect').attributes('width')))
    expect(Math.max(...ends)).toBeCloseTo(880) // the last step ends where the axis does
  })

  it('takes a rating', async () => {
    const page = mounted()
    await submitted(page)
    await page.get('[aria-label="4 分"]').trigger('click')
    await settled(page)
    expect(page.find('.error').exists()).toBe(false)
    expect(page.get('.feedback').text()).toBe('谢谢！')
    console.log(`rated ${page.vm.requestId}`)
  })
})

it('takes no rating of a schedule that is about to be replaced', async () => {
  const page = mounted()
  await submitted(page)
  await page.get('form').trigger('submit')
  expect(page.get('[aria-label="4 分"]').attributes()).toHaveProperty('disabled')
  await settled(page)
  expect(page.get('[aria-label="4 分"]').attributes()).not.toHaveProperty('disabled')
})

describe('a mistake', () => {
  it('is told in the words of the service, at the field where it is, and is gone with the next run', async () => {
    const page = mounted()
    const field = page.findAll('input')[2]
    await field.setValue(-8)
    await submitted(page)
    expect(page.get('[role=alert]').text()).toContain('must be greater than 0, not -8')
    expect(page.findAll('[aria-invalid=true]').map((input) => input.element.value)).toEqual(['-8'])
    await field.setValue(8)
    await submitted(page)
    expect(page.find('[role=alert]').exists()).toBe(false)
    expect(page.get('.makespan').text()).toBe('52.87 h')
  })

  it('in the key is told', async () => {
    const page = mounted(createApi({ baseURL, apiKey: 'nobody-made-this-key' }))
    await submitted(page)
    expect(page.get('[role=alert]').text()).toContain('API key')
    expect(page.find('svg').exists()).toBe(false)
  })

  it('in the address is told', async () => {
    const page = mounted(createApi({ baseURL: 'http://127.0.0.1:1' }))
    await submitted(page)
    expect(page.get('[role=alert]').text()).toBe('无法连接排程服务')
  })
})

describe('something that is not the service', () => {
  const standIn = (answer) => {
    const axios = createApi({ maxWaitMs: 500 })
    axios.defaults.adapter = async (config) => answer(config)
    return axios
  }

  it('and answers with a page, as a login that has run out does, is told', async () => {
    const page = mounted(standIn((config) => ({ status: 200, data: '<html>', headers: {}, config })))
    await submitted(page)
    expect(page.get('[role=alert]').text()).toContain('不是排程服务的答复')
  })

  it('and says come back at once, without end, is given up', async () => {
    const asked = []
    const axios = standIn((config) => {
      asked.push(config.url)
      if (asked.length > 3) return { status: 200, data: {}, headers: {}, config }
      throw Object.assign(new Error('busy'), { config, response: { status: 503, headers: { 'retry-after': '0' } } })
    })
    await expect(axios.post('/api/algorithm/run', {})).rejects.toMatchObject({ status: 503 })
    expect(asked.length).toBe(1)
  })
})

describe.skipIf(!burst)('a service that is busy', () => {
  it('is given up at once by whoever cannot wait', async () => {
    const impatient = createApi({ baseURL, apiKey, maxWaitMs: 0 })
    const asked = Array.from({ length: 2 * Number(burst) }, () => impatient.post('/api/algorithm/run', { params: HOURS }))
    const refused = (await Promise.allSettled(asked)).filter((each) => each.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused) {
      expect(reason).toBeInstanceOf(SchedulerError)
      expect([429, 503]).toContain(reason.status)
    }
  })

  it('is asked again when it says so', async () => {
    const asked = Array.from({ length: 4 }, () => api.post('/api/algorithm/run', { params: HOURS }))
    const answers = await Promise.all(asked)
    expect(answers.map((answer) => answer.config.waitedMs ?? 0).some((waitedMs) => waitedMs > 0)).toBe(true)
  })
})
