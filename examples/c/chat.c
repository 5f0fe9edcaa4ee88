/*
 * A conversation: each line that is typed goes to the model, and what it says is shown as it comes. Ctrl-C stops an
 * answer.
 *
 *     cc chat.c $(pkg-config --cflags --libs lemmy) -o chat
 *     ./chat MODEL.gguf [TEMPERATURE [SYSTEM]]
 *
 * TEMPERATURE 0 gives the same answers each time; "-" and none at all what the model recommends. SYSTEM: instructions.
 */
#include <lemmy.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static LemmyCancel *cancel;
static LemmyError *error;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    lemmy_cancel_trigger(cancel);
}

/* Prints a failure, if it is one, and frees it. */
static int failed(LemmyStatus status) {
    if (status == LEMMY_OK) return 0;
    fprintf(stderr, "%s: %s\n", lemmy_status_name(status), lemmy_error_message(error));
    lemmy_error_free(error);
    return 1;
}

/* Says a line and shows the answer; returns 0 on success. */
static int answer(LemmySession *session, const char *line, const LemmyGenerateOptions *options) {
    if (failed(lemmy_session_send(session, line, LEMMY_NUL_TERMINATED, NULL, 0, options, &error))) return 1;
    LemmyEvent event = {0};
    event.struct_size = sizeof event;
    do {
        if (failed(lemmy_session_next(session, &event, &error))) return 1;
        if (event.kind == LEMMY_EVENT_TEXT) {
            fwrite(event.text, 1, event.text_len, stdout);
            fflush(stdout);
        } else if (event.kind == LEMMY_EVENT_WARNING) {
            fprintf(stderr, "note: %s\n", event.text);
        }
    } while (event.kind != LEMMY_EVENT_FINISHED);
    putchar('\n');
    if (event.finish_reason == LEMMY_FINISH_CANCELLED) fputs("(stopped)\n", stderr);
    if (event.finish_reason == LEMMY_FINISH_CONTEXT_FULL) fputs("(no room left)\n", stderr);
    return 0;
}

/* Answers line by line; returns 0 at the end of the input. */
static int converse(LemmyModel *model, const char *temperature, const char *system) {
    LemmySessionOptions options;
    lemmy_session_options_init(&options, sizeof options);
    options.cancel = cancel;
    options.system = system;
    LemmySession *session = NULL;
    if (failed(lemmy_session_new(model, &options, &session, &error))) return 1;
    LemmySamplerOptions sampler;
    lemmy_sampler_options_init(&sampler, sizeof sampler);
    if (temperature && strcmp(temperature, "-") != 0) sampler.temperature = strtof(temperature, NULL);
    LemmyGenerateOptions reply;
    lemmy_generate_options_init(&reply, sizeof reply);
    reply.sampler = &sampler;
    char line[4096];
    int result = 0;
    while (result == 0 && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        lemmy_cancel_reset(cancel);
        result = answer(session, line, &reply);
    }
    lemmy_session_free(session);
    return result;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: chat MODEL.gguf [TEMPERATURE [SYSTEM]]\n", stderr);
        return 2;
    }
    LemmyModel *model = NULL;
    if (failed(lemmy_model_load(argv[1], NULL, &model, &error))) return 1;
    cancel = lemmy_cancel_new();
    signal(SIGINT, on_interrupt);
    int result = converse(model, argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    signal(SIGINT, SIG_DFL); /* the handler must not find what is gone */
    lemmy_cancel_release(cancel);
    lemmy_model_release(model);
    return result;
}
