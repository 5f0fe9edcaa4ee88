/*
 * A model that may ask for the weather: it calls a function of this program, reads what that returns, and answers.
 *
 *     cc tools.c $(pkg-config --cflags --libs lemmy) -o tools
 *     ./tools MODEL.gguf "What is the weather in London?"
 */
#include <lemmy.h>

#include <stdio.h>
#include <string.h>

static const char TOOLS[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"The current weather in a city\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"City name\"}},"
    "\"required\":[\"city\"]}}}]";

/* What tools answered in one turn, as a JSON array of messages. */
typedef struct Answers {
    char json[4096];
    size_t size;
} Answers;

static LemmyError *error;

static int failed(LemmyStatus status) {
    if (status == LEMMY_OK) return 0;
    fprintf(stderr, "%s: %s\n", lemmy_status_name(status), lemmy_error_message(error));
    lemmy_error_free(error);
    return 1;
}

/* The tool. `arguments` is JSON, {"city":"London"}; a program of some size would read it with a JSON library. */
static const char *get_weather(const char *arguments) {
    return strstr(arguments, "London") ? "{\"condition\":\"rainy\",\"temperature\":11}"
                                       : "{\"condition\":\"sunny\",\"temperature\":22}";
}

/* Carries out a call and notes the answer. Ids of calls need no escapes in JSON: they are "call_" and a number. */
static void call(const LemmyEvent *event, Answers *answers) {
    printf("-> %s %s\n", event->tool_name, event->tool_arguments);
    const char *output = strcmp(event->tool_name, "get_weather") == 0 ? get_weather(event->tool_arguments)
                                                                      : "{\"error\":\"no such tool\"}";
    const size_t room = sizeof answers->json - answers->size;
    const int written = snprintf(answers->json + answers->size, room,
                                 "%c{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":%s}",
                                 answers->size ? ',' : '[', event->tool_id, output);
    if (written > 0 && (size_t)written < room) answers->size += (size_t)written;
}

/* Shows a reply to its end; returns 0 on success. */
static int show(LemmySession *session, Answers *answers) {
    LemmyEvent event = {0};
    event.struct_size = sizeof event;
    do {
        if (failed(lemmy_session_next(session, &event, &error))) return 1;
        if (event.kind == LEMMY_EVENT_TEXT) fwrite(event.text, 1, event.text_len, stdout);
        if (event.kind == LEMMY_EVENT_TOOL_CALL) call(&event, answers);
    } while (event.kind != LEMMY_EVENT_FINISHED);
    return 0;
}

/* A reply without chance: the same question gives the same answer. */
static LemmyGenerateOptions greedy(LemmySamplerOptions *sampler) {
    LemmyGenerateOptions options;
    lemmy_sampler_options_init(sampler, sizeof *sampler);
    lemmy_generate_options_init(&options, sizeof options);
    sampler->temperature = 0;
    options.sampler = sampler;
    return options;
}

/* Asks, and carries out calls until the model has what it needs. */
static int converse(LemmySession *session, const char *question) {
    LemmySamplerOptions sampler;
    const LemmyGenerateOptions options = greedy(&sampler);
    if (failed(lemmy_session_send(session, question, LEMMY_NUL_TERMINATED, NULL, 0, &options, &error))) return 1;
    for (int turn = 0; turn < 5; turn++) {
        Answers answers = {{0}, 0};
        if (show(session, &answers)) return 1;
        if (answers.size == 0) break;
        answers.json[answers.size++] = ']';
        if (failed(lemmy_session_add(session, answers.json, answers.size, NULL, 0, &error))) return 1;
        if (failed(lemmy_session_generate(session, &options, &error))) return 1;
    }
    putchar('\n');
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: tools MODEL.gguf QUESTION\n", stderr);
        return 2;
    }
    LemmyModel *model = NULL;
    LemmySession *session = NULL;
    LemmySessionOptions options;
    lemmy_session_options_init(&options, sizeof options);
    options.tools_json = TOOLS;
    int result = 1;
    if (failed(lemmy_model_load(argv[1], NULL, &model, &error))) goto done;
    if (failed(lemmy_session_new(model, &options, &session, &error))) goto done;
    result = converse(session, argv[2]);
done:
    lemmy_session_free(session);
    lemmy_model_release(model);
    return result;
}
