import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// The service, or the Spring Boot back end before it. The key stays in this process: the browser never sees it.
const { SCHEDULER_URL = 'http://localhost:5001', SCHEDULER_KEY = '' } = process.env
const target = {
  target: SCHEDULER_URL,
  headers: SCHEDULER_KEY ? { Authorization: `Bearer ${SCHEDULER_KEY}` } : {}
}

export default defineConfig({
  plugins: [vue()],
  server: { proxy: { '/api': target, '/feedback': target } },
  test: { environment: 'jsdom', testTimeout: 30_000 }
})
