import { z } from 'zod'
import { errorAnswer, openApiAnswer } from './answers.ts'
import { ENDPOINTS, type Endpoint } from './endpoints.ts'
import { eventData } from './events.ts'

type Json = Readonly<Record<string, unknown>>

/** The OpenAPI 3.1 document of the control listener, made from the schemas by which it reads and answers. */
export function openApi(version: string): Json {
  const components: Record<string, unknown> = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => {
    const { $schema: _, $defs = {}, ...rest } = z.toJSONSchema(schema, { io })
    for (const [name, each] of Object.entries($defs)) components[name] = moved(each)
    return moved(rest)
  }
  const calls = ENDPOINTS.map((endpoint): [string, Json] => [
    endpoint.path.replace(/:(\w+)/g, '{$1}'),
    { [endpoint.method.toLowerCase()]: operationOf(endpoint, schemaOf) },
  ])
  const others: [string, Json][] = [
    ['/v1/events', { get: eventsOperation(schemaOf(eventData, 'output')) }],
    ['/v1/openapi.json', { get: documentOperation(schemaOf(openApiAnswer, 'output')) }],
  ]
  const error = schemaOf(errorAnswer, 'output')
  return {
    openapi: '3.1.0',
    info: { title: 'citus-ha control', version, description: DESCRIPTION },
    security: [{ token: [] }, { certificate: [] }],
    paths: Object.fromEntries([...calls, ...others]),
    components: {
      schemas: components,
      responses: { Error: { description: 'The reason why it was not done.', content: json(error) } },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        certificate: { type: 'mutualTLS' },
      },
    },
  }
}

const DESCRIPTION =
  'Requests to a running citus-ha watch. 200: the request was carried out as far as the evidence, the locks and ' +
  'the nodes allowed; the answer says how far.'

/** zod puts what is named under `$defs` of each schema; OpenAPI has one place for all. */
function moved(schema: unknown): Json {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'))
}

function json(schema: unknown): Json {
  return { 'application/json': { schema } }
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json

function operationOf({ id, summary, parameters, query, body, answer }: Endpoint, schemaOf: SchemaOf): Json {
  const named = [...parametersOf(parameters, 'path', schemaOf), ...parametersOf(query, 'query', schemaOf)]
  return {
    operationId: id,
    summary,
    ...(named.length > 0 && { parameters: named }),
    ...(body && { requestBody: { required: false, content: json(schemaOf(body, 'input')) } }),
    responses: {
      200: { description: 'Carried out.', content: json(schemaOf(answer, 'output')) },
      ...ERRORS,
    },
  }
}

function parametersOf(schema: z.ZodObject, where: 'path' | 'query', schemaOf: SchemaOf): Json[] {
  return Object.entries(schema.shape).map(([name, field]) => ({
    name,
    in: where,
    required: where === 'path',
    schema: schemaOf(field as z.ZodType, 'input'),
  }))
}

const ERROR = { $ref: '#/components/responses/Error' }
const ERRORS = { 401: ERROR, default: ERROR }

function eventsOperation(data: Json): Json {
  return {
    operationId: 'events',
    summary: 'Every diagnosis and change from now on, as server-sent events.',
    responses: {
      200: {
        description: 'The data of each event is one JSON document, by the schema Event.',
        content: { 'text/event-stream': { schema: { type: 'string', contentSchema: data } } },
      },
      ...ERRORS,
    },
  }
}

function documentOperation(document: Json): Json {
  return {
    operationId: 'openapi',
    summary: 'This document.',
    responses: { 200: { description: 'OpenAPI 3.1.', content: json(document) }, ...ERRORS },
  }
}
