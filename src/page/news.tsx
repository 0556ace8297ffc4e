import { Clock, Fold, Lines, Sign } from './parts.tsx'
import type { ChangeView, Step, Story } from './stories.ts'

const OPEN = 3

/** What happened, the newest first; the last few open. */
export function Stories({ stories }: { readonly stories: readonly Story[] }) {
  if (stories.length === 0) return <p class="quiet">Nothing has happened.</p>
  return (
    <>
      {stories.slice(0, OPEN).map((story) => (
        <section key={story.key} class={`card story ${story.tone}`} aria-label={story.title}>
          <h3>
            <Sign tone={story.tone} /> {story.title}
          </h3>
          <Steps story={story} />
        </section>
      ))}
      {stories.slice(OPEN).map((story) => (
        <Fold
          key={story.key}
          class={`card story ${story.tone}`}
          summary={
            <>
              <Sign tone={story.tone} /> {story.title} {story.steps[0] && <Clock at={story.steps[0].at} />}
            </>
          }
        >
          <Steps story={story} />
        </Fold>
      ))}
    </>
  )
}

function Steps({ story: { steps } }: { readonly story: Story }) {
  return (
    <ol class="steps">
      {steps.map((step, n) => (
        <StepLine key={n} step={step} />
      ))}
    </ol>
  )
}

function StepLine({ step: { at, tone, text, lines, details, stages } }: { readonly step: Step }) {
  return (
    <li class={`step ${tone}`}>
      <Clock at={at} /> {text}
      {stages.length > 0 && (
        <ol class="stages">
          {stages.map((stage) => (
            <li key={stage} class="stage">
              {stage}
            </li>
          ))}
        </ol>
      )}
      {lines.length > 0 && <Lines lines={lines} />}
      {details.length > 0 && (
        <Fold summary="What was seen">
          <Lines lines={details} />
        </Fold>
      )}
    </li>
  )
}

/** The changes that were decided since the watcher began. */
export function Changes({ changes }: { readonly changes: readonly ChangeView[] }) {
  if (changes.length === 0) return <p class="quiet">Nothing was changed.</p>
  return (
    <>
      {changes.map(({ key, at, title, rows }) => (
        <Fold
          key={key}
          class="card change"
          summary={
            <>
              <Clock at={at} /> {title}
            </>
          }
        >
          {rows.map(({ about, before, after, why }) => (
            <dl key={`${about} ${after}`}>
              <dt>{about}</dt>
              <dd>
                before <span class="address">{before}</span>
              </dd>
              <dd>
                after <span class="address">{after}</span>
              </dd>
              <dd class="quiet">{why}</dd>
            </dl>
          ))}
          {rows.length === 0 && (
            <p class="quiet">No row of the coordinator’s changed: copies were made right.</p>
          )}
        </Fold>
      ))}
    </>
  )
}
