import { matrixOf } from '../support/matrix.ts'

matrixOf('event')
