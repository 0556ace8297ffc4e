import { watchMatrix } from '../support/matrix-watch.ts'

watchMatrix()
