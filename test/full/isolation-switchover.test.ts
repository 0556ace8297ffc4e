import { matrixOf } from '../support/matrix.ts'

matrixOf('switchover')
matrixOf('switchover --allow-unreachable')
