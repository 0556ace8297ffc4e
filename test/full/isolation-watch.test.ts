import { matrixOf } from '../support/matrix.ts'

matrixOf('watch --once')
