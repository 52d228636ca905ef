import { createApp } from 'vue'
import { createStore } from 'vuex'
import ShutdownSchedule from './ShutdownSchedule.vue'

// In your application the login puts the user here.
const store = createStore({ state: { user: { id: 'user_12345' } } })

createApp(ShutdownSchedule).use(store).mount('#app')
