/* Many threads: on one model, and all on one session, where each call is done or refused. */
#include "support.h"

#include <pthread.h>

enum { THREADS = 3, CALLS = 60 };

typedef struct Work {
    LemmyModel *model;
    LemmySession *session;
    LemmyCancel *cancel;
    int done, refused, other;
} Work;

static void count(Work *work, LemmyStatus status) {
    if (status == LEMMY_OK) work->done += 1;
    else if (status == LEMMY_E_BUSY) work->refused += 1;
    else work->other += 1;
}

static void *hammer(void *argument) {
    Work *work = (Work *)argument;
    LemmySessionInfo info;
    float *logits = NULL;
    size_t vocab = 0;
    uint32_t id = 20;
    int i;
    info.struct_size = sizeof info;
    for (i = 0; i < CALLS; i++) {
        switch (i % 4) {
        case 0: count(work, lemmy_session_prefill(work->session, &id, 1, NULL, NULL, NULL)); break;
        case 1: count(work, lemmy_session_info(work->session, &info, NULL)); break;
        case 2: count(work, lemmy_session_rewind(work->session, 0, NULL)); break;
        default: count(work, lemmy_session_forward(work->session, &id, 1, &logits, &vocab, NULL)); break;
        }
    }
    return NULL;
}

/* A session of its own on the shared model, and calls on the model itself. */
static void *live_beside(void *argument) {
    Work *work = (Work *)argument;
    LemmySession *session = NULL;
    LemmySessionOptions options;
    LemmyGenerateOptions generate;
    LemmyEvent event;
    uint32_t ids[32];
    size_t number = 0;
    lemmy_session_options_init(&options, sizeof options);
    lemmy_generate_options_init(&generate, sizeof generate);
    options.context = 256;
    generate.max_tokens = 8;
    event.struct_size = sizeof event;
    event.kind = 0;
    count(work, lemmy_model_tokenize(work->model, "shared by all", 13, 0, ids, 32, &number, NULL));
    count(work, lemmy_session_new(work->model, &options, &session, NULL));
    count(work, lemmy_session_send(session, "Hi", 2, NULL, 0, &generate, NULL));
    while (event.kind != LEMMY_EVENT_FINISHED && work->other == 0)
        count(work, lemmy_session_next(session, &event, NULL));
    lemmy_session_free(session);
    return NULL;
}

static void *trigger(void *argument) {
    lemmy_cancel_trigger(((Work *)argument)->cancel);
    return NULL;
}

static void together(void *(*job)(void *), Work *work) {
    pthread_t threads[THREADS];
    int i;
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, job, &work[i]) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv) {
    Work work[THREADS], all = {NULL, NULL, NULL, 0, 0, 0};
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    pthread_t thread;
    int i;
    CHECK(argc == 3);
    all.model = load(argv);
    all.session = start(all.model, NULL);
    all.cancel = lemmy_cancel_new();

    for (i = 0; i < THREADS; i++) work[i] = all;
    together(hammer, work);
    for (i = 0; i < THREADS; i++) CHECK(work[i].done + work[i].refused == CALLS && work[i].other == 0);

    for (i = 0; i < THREADS; i++) work[i] = all;
    together(live_beside, work);
    for (i = 0; i < THREADS; i++) CHECK(work[i].done > 4 && work[i].refused == 0 && work[i].other == 0);

    /* a reply that would go on for long ends when another thread says so */
    OK(lemmy_session_clear(all.session, &error));
    greedy(&options, &sampler);
    sampler.temperature = 5;
    options.max_tokens = LEMMY_DEFAULT_64;
    options.cancel = all.cancel;
    OK(lemmy_session_send(all.session, "Hi", 2, NULL, 0, &options, &error));
    CHECK(pthread_create(&thread, NULL, trigger, &all) == 0);
    CHECK(finish(all.session).reason != 0);
    CHECK(pthread_join(thread, NULL) == 0 && lemmy_cancel_is_triggered(all.cancel) == 1);
    OK(lemmy_session_clear(all.session, &error));
    OK(lemmy_session_send(all.session, "Hi", 2, NULL, 0, &options, &error));
    CHECK(finish(all.session).reason == LEMMY_FINISH_CANCELLED);

    lemmy_cancel_release(all.cancel);
    lemmy_session_free(all.session);
    lemmy_model_release(all.model);
    return failures != 0;
}
