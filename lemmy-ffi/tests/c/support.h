/* What the tests share. Each is a program that prints nothing and returns 0 if all is well. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <lemmy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;
/* What calls leave their error in; at first it stands for an uninitialised variable. */
static LemmyError *error = (LemmyError *)&failures;

static inline void check(int holds, const char *what, int line) {
    if (!holds) {
        printf("line %d: %s\n", line, what);
        failures += 1;
    }
}
#define CHECK(x) check((x) ? 1 : 0, #x, __LINE__)

static inline void check_ok(LemmyStatus status, const char *what, int line) {
    if (status != LEMMY_OK || error != NULL) {
        printf("line %d: %s\n  %s: %s\n", line, what, lemmy_status_name(status), lemmy_error_message(error));
        failures += 1;
        lemmy_error_free(error);
    }
    error = (LemmyError *)&failures;
}
/* A call that must succeed. */
#define OK(call) check_ok((call), #call, __LINE__)

static inline void check_fails(LemmyStatus found, LemmyStatus expected, const char *word, const char *what, int line) {
    const char *message = found == LEMMY_OK ? "" : lemmy_error_message(error);
    if (found != expected || lemmy_error_code(error) != expected || strstr(message, word) == NULL) {
        printf("line %d: %s\n  found %s (%s), expected %s with \"%s\"\n", line, what, lemmy_status_name(found), message,
               lemmy_status_name(expected), word);
        failures += 1;
    }
    if (found != LEMMY_OK) lemmy_error_free(error);
    error = (LemmyError *)&failures;
}
/* A call that must fail, with a word in its message. */
#define FAILS(status, word, call) check_fails((call), (status), (word), #call, __LINE__)

/* The demonstration model, whose path is the second argument of every program. */
static inline LemmyModel *load(char **argv) {
    LemmyModel *model = NULL;
    OK(lemmy_model_load(argv[2], NULL, &model, &error));
    if (model == NULL) exit(1);
    return model;
}

/* A path in the folder that is the first argument. */
static inline const char *path_in(char **argv, const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", argv[1], name);
    return path;
}

/* A small session. */
static inline LemmySession *start(LemmyModel *model, LemmySessionOptions *options) {
    LemmySession *session = NULL;
    LemmySessionOptions own;
    if (options == NULL) {
        options = &own;
        lemmy_session_options_init(options, sizeof *options);
    }
    options->context = 1024;
    OK(lemmy_session_new(model, options, &session, &error));
    if (session == NULL) exit(1);
    return session;
}

/* Options of replies that are always the same. */
static inline void greedy(LemmyGenerateOptions *options, LemmySamplerOptions *sampler) {
    lemmy_generate_options_init(options, sizeof *options);
    lemmy_sampler_options_init(sampler, sizeof *sampler);
    sampler->temperature = 0;
    options->sampler = sampler;
    options->max_tokens = 100;
}

/* What a reply consisted of, joined. */
typedef struct Reply {
    char text[1024], thoughts[1024], id[64], name[64], arguments[256];
    int events, prefills, calls, tokens, warnings;
    int stop_after; /* events, then ask to stop; 0: never */
    uint32_t reason;
} Reply;

static inline int32_t collect(void *user_data, const LemmyEvent *event) {
    Reply *reply = (Reply *)user_data;
    reply->events += 1;
    switch (event->kind) {
    case LEMMY_EVENT_PREFILL: reply->prefills += 1; break;
    case LEMMY_EVENT_TEXT: strncat(reply->text, event->text, sizeof reply->text - strlen(reply->text) - 1); break;
    case LEMMY_EVENT_THINKING:
        strncat(reply->thoughts, event->text, sizeof reply->thoughts - strlen(reply->thoughts) - 1);
        break;
    case LEMMY_EVENT_TOOL_CALL:
        reply->calls += 1;
        snprintf(reply->id, sizeof reply->id, "%s", event->tool_id);
        snprintf(reply->name, sizeof reply->name, "%s", event->tool_name);
        snprintf(reply->arguments, sizeof reply->arguments, "%s", event->tool_arguments);
        CHECK(strlen(event->tool_arguments) == event->tool_arguments_len);
        break;
    case LEMMY_EVENT_TOKEN: reply->tokens += 1; break;
    case LEMMY_EVENT_WARNING: reply->warnings += 1; break;
    case LEMMY_EVENT_FINISHED: reply->reason = event->finish_reason; break;
    default: break;
    }
    if (event->kind == LEMMY_EVENT_TEXT || event->kind == LEMMY_EVENT_THINKING) {
        CHECK(event->text_len > 0 && strlen(event->text) == event->text_len);
    }
    return reply->stop_after != 0 && reply->events >= reply->stop_after;
}

/* Runs a reply that was begun. */
static inline Reply finish(LemmySession *session) {
    Reply reply;
    memset(&reply, 0, sizeof reply);
    OK(lemmy_session_run(session, collect, &reply, NULL, &error));
    return reply;
}

/* Says something and runs the reply. */
static inline Reply ask(LemmySession *session, const char *text) {
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    greedy(&options, &sampler);
    OK(lemmy_session_send(session, text, LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    return finish(session);
}

#endif
