/*
 * lemmy.h - run Lemmy / Gemma 4 26B-A4B from its GGUF files, in C.
 *
 * This is ABI 0.2. Until 1.0 anything here may still change; docs/abi.md says how.
 *
 *     LemmyModel *model = NULL;
 *     LemmySession *session = NULL;
 *     LemmyError *error = NULL;
 *     LemmyEvent event;
 *     event.struct_size = sizeof event;
 *
 *     if (lemmy_model_load("gemma-4-26B-A4B-it-Q4_K_M.gguf", NULL, &model, &error) != LEMMY_OK ||
 *         lemmy_session_new(model, NULL, &session, &error) != LEMMY_OK ||
 *         lemmy_session_send(session, "Why is the sky blue?", LEMMY_NUL_TERMINATED, NULL, 0, NULL, &error) != LEMMY_OK)
 *         goto failed;
 *     do {
 *         if (lemmy_session_next(session, &event, &error) != LEMMY_OK) goto failed;
 *         if (event.kind == LEMMY_EVENT_TEXT) fwrite(event.text, 1, event.text_len, stdout);
 *     } while (event.kind != LEMMY_EVENT_FINISHED);
 *
 * OWNERSHIP  What a function hands out through an out-pointer belongs to the caller: one reference, given back with
 *            _release where an object can be shared (model, cancel, pool, image; _retain makes another reference), else
 *            with _free. These take NULL. A failed call sets its out-pointer to NULL. An object keeps alive what it
 *            needs: a model may be released while its sessions live.
 *            `const char *` that come out are lent: "static" means for ever, else the comment names how long.
 *
 * ERRORS     Fallible functions return a LemmyStatus: LEMMY_OK, or the kind of failure. The last parameter is
 *            `LemmyError **error`; pass NULL if the status is enough. Otherwise *error is always written: NULL on
 *            success, an error object on failure. It may be uninitialised before. There is no "last error" anywhere.
 *            What every function can fail with is not repeated at each: ARGUMENT (NULL where it is not allowed, no
 *            UTF-8, out of range, a struct without its size), FIELD, BUSY, OUT_OF_MEMORY, INTERNAL.
 *
 * THREADS    Any thread may call any function at any time. Model, pool, image and cancel can be used by many threads at
 *            once. Session, sampler and decoder serve one call at a time: while one is inside, others get LEMMY_E_BUSY
 *            and nothing happens. Giving an object back while another thread is inside a call on it is the caller's
 *            fault, as with free(). After fork() the child must load the model again (LEMMY_E_FORKED).
 *
 * STRUCTS    Set struct_size to sizeof the struct. For options the _init function does it and writes the defaults;
 *            for structs that a call fills, the caller does. So a program and a library of different age get along: no
 *            more is written than the program knows, and what the library does not know is zero. Of options that the
 *            library does not know, all bytes must be zero, else LEMMY_E_FIELD: nothing is silently left undone.
 *            Fields named `reserved` must be 0. Structs only ever grow at the end. NULL in place of options: defaults.
 *            A call that fails leaves the struct that it would fill alone.
 *
 * TEXT       In: UTF-8 with a length in bytes, or LEMMY_NUL_TERMINATED; paths and names end with a NUL, on Windows too.
 *            It is copied before the call returns. Out: a length, and a NUL behind it that does not count, unless the
 *            comment says otherwise. Pieces of a reply never end inside a character. Messages and tools travel as JSON:
 *            docs/abi.md has their form.
 *
 * ARRAYS     A caller's array comes with its capacity and gets its count back. If it is too small, the status is
 *            LEMMY_E_BUFFER, the count is what is needed, and nothing else is written: ask with capacity 0 first.
 *
 * CALLBACKS  They get the `user_data` that was given with them and return 0 to go on, anything else to stop. They run
 *            on the thread that made the call, inside it, and must return: no longjmp, no exception through them. They
 *            may call any function; the object that is at work answers LEMMY_E_BUSY. A callback and its user_data must
 *            stay valid during the call; those of LemmyGenerateOptions until the reply is over.
 *
 * PROCESS    No function prints, exits or aborts. A fault of the library is LEMMY_E_INTERNAL with the place in its
 *            message; a session, sampler or decoder that it happened in answers so from then on, all else lives. Memory
 *            for models and sessions is asked for before it is used, and its lack is LEMMY_E_OUT_OF_MEMORY; only where
 *            the system refuses what a text or a picture takes does Rust end the process.
 */
#ifndef LEMMY_H
#define LEMMY_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(LEMMY_SHARED)
#define LEMMY_API __declspec(dllimport)
#else
#define LEMMY_API
#endif

/* Which pointers may be NULL, for compilers that carry it on to Swift and Objective-C. */
#if defined(__clang__)
#define LEMMY_NULLABLE _Nullable
#define LEMMY_NONNULL _Nonnull
#define LEMMY_BEGIN                                                                                                    \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wnullability-extension\"")                   \
        _Pragma("clang assume_nonnull begin")
#define LEMMY_END _Pragma("clang assume_nonnull end") _Pragma("clang diagnostic pop")
#else
#define LEMMY_NULLABLE
#define LEMMY_NONNULL
#define LEMMY_BEGIN
#define LEMMY_END
#endif

#ifdef __cplusplus
extern "C" {
#endif
LEMMY_BEGIN

/* ---- version --------------------------------------------------------------------------------------------------- */

#define LEMMY_ABI_MAJOR 0u
#define LEMMY_ABI_MINOR 2u

/*
 * The library's ABI: major number in the upper 16 bits, minor in the lower. A program may use the library if the
 * majors are equal and the library's minor is not below the header's:
 *
 *     uint32_t abi = lemmy_abi_version();
 *     if (abi >> 16 != LEMMY_ABI_MAJOR || (abi & 0xffff) < LEMMY_ABI_MINOR) ...
 */
LEMMY_API uint32_t lemmy_abi_version(void);

/* Version of the library, for instance "0.1.0". Static. */
LEMMY_API const char *lemmy_version(void);

/* What was built in, separated by commas, for instance "cpu,grammar,vision". Static. */
LEMMY_API const char *lemmy_features(void);

/* ---- common values --------------------------------------------------------------------------------------------- */

/* As a length of text: up to the first NUL. The default of every length in options. */
#define LEMMY_NUL_TERMINATED ((size_t)-1)
/* In options: the library's default, or the model's recommendation. Floats say so with NaN. */
#define LEMMY_DEFAULT 0xffffffffu
#define LEMMY_DEFAULT_64 UINT64_C(0xffffffffffffffff)
/* As LemmySamplerOptions.repeat_last: all tokens. */
#define LEMMY_ALL_TOKENS 0xfffffffeu
/* As a token: none. */
#define LEMMY_NO_TOKEN 0xffffffffu
/* In lemmy_session_tokens: a place that a picture fills. */
#define LEMMY_SOFT_TOKEN 0xffffffffu

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/* 0 or the kind of failure. Numbers are never changed and never used again; unknown ones come from a newer library. */
typedef int32_t LemmyStatus;

#define LEMMY_OK 0
/* 1 to 99: states that only the C interface knows. */
#define LEMMY_E_BUSY 1   /* another call on this object has not returned yet */
#define LEMMY_E_BUFFER 2 /* the caller's array is too small */
#define LEMMY_E_FIELD 3  /* options set something that this library does not know */
#define LEMMY_E_STATE 4  /* the object is not in a state for this: an event of no reply, say */
/* From 100: the library's. */
#define LEMMY_E_IO 100             /* the operating system refused a file */
#define LEMMY_E_FILE_CHANGED 101   /* a model file changed while it was in use */
#define LEMMY_E_GGUF 200           /* the bytes are no model file that can be used */
#define LEMMY_E_UNSUPPORTED 300    /* a sound request that this build cannot serve */
#define LEMMY_E_OUT_OF_MEMORY 400  /* an allocation failed, or would exceed a limit */
#define LEMMY_E_CONTEXT_FULL 500   /* more tokens than the session has room for */
#define LEMMY_E_REWIND_TOO_FAR 501 /* the cached rows that a rewind needs are gone */
#define LEMMY_E_SESSION 502        /* the bytes are no saved session that this model can go on with */
#define LEMMY_E_TEMPLATE 600       /* the chat template could not be read or rendered */
#define LEMMY_E_IMAGE 610          /* the bytes are no picture that can be used */
#define LEMMY_E_CANCELLED 800      /* the caller asked to stop, by a LemmyCancel or a callback */
#define LEMMY_E_ARGUMENT 850       /* an argument is out of its range, NULL, no UTF-8, or a struct without its size */
#define LEMMY_E_NUMERIC 860        /* a step gave NaN or infinity: damaged weights or input */
#define LEMMY_E_FORKED 870         /* used in a forked process */
#define LEMMY_E_INTERNAL 900       /* a fault of the library */

/* Name of a status, for instance "ContextFull"; "Unknown" for a number that this library does not know. Static. */
LEMMY_API const char *lemmy_status_name(LemmyStatus status);

/* What went wrong in one call. May be read by several threads at once. */
typedef struct LemmyError LemmyError;

/* The status that the failed call returned. LEMMY_OK for NULL. */
LEMMY_API LemmyStatus lemmy_error_code(const LemmyError *LEMMY_NULLABLE error);

/*
 * What went wrong, in English: which file, key, tensor or argument, what was found and what was expected.
 * Lives as long as the error. "" for NULL.
 */
LEMMY_API const char *lemmy_error_message(const LemmyError *LEMMY_NULLABLE error);

#define LEMMY_VALUE_NEEDED 1u    /* bytes that were asked for (OUT_OF_MEMORY); entries that are needed (BUFFER) */
#define LEMMY_VALUE_LIMIT 2u     /* bytes that may be used (OUT_OF_MEMORY); lowest position (REWIND_TOO_FAR) */
#define LEMMY_VALUE_USED 3u      /* positions filled (CONTEXT_FULL) */
#define LEMMY_VALUE_REQUESTED 4u /* positions asked for (CONTEXT_FULL); position asked for (REWIND_TOO_FAR) */
#define LEMMY_VALUE_CAPACITY 5u  /* positions that the session holds (CONTEXT_FULL); entries that were given (BUFFER) */
#define LEMMY_VALUE_POSITION 6u  /* offset in the file (GGUF), in the struct (FIELD) */

/*
 * Reads a number out of an error, so that nobody has to parse sentences.
 * Returns 1 and sets *out, or 0 and leaves it alone if this error has no such number.
 */
LEMMY_API int32_t lemmy_error_value(const LemmyError *LEMMY_NULLABLE error, uint32_t which,
                                    uint64_t *LEMMY_NULLABLE out);

/* Frees an error. */
LEMMY_API void lemmy_error_free(LemmyError *LEMMY_NULLABLE error);

/* ---- buffers --------------------------------------------------------------------------------------------------- */

/* Bytes or text that a call made. */
typedef struct LemmyBuffer LemmyBuffer;

/* Its bytes, and a NUL behind them. Lives as long as the buffer. "" for NULL. */
LEMMY_API const uint8_t *lemmy_buffer_data(const LemmyBuffer *LEMMY_NULLABLE buffer);

/* Their number, without the NUL. 0 for NULL. */
LEMMY_API size_t lemmy_buffer_size(const LemmyBuffer *LEMMY_NULLABLE buffer);

LEMMY_API void lemmy_buffer_free(LemmyBuffer *LEMMY_NULLABLE buffer);

/* ---- cancel ---------------------------------------------------------------------------------------------------- */

/*
 * Asks running work to stop, from anywhere. One may be given to many calls; once triggered it stops each of them, and
 * every later one, until it is reset. Loading, reading and raw calls then fail with LEMMY_E_CANCELLED; a reply is no
 * failure: it ends with LEMMY_FINISH_CANCELLED. What was done until then stays, and every object stays usable.
 */
typedef struct LemmyCancel LemmyCancel;

/* A token that nobody has triggered. */
LEMMY_API LemmyCancel *lemmy_cancel_new(void);

/* Triggers it. One store in memory: may be called in a signal handler. Nothing for NULL. */
LEMMY_API void lemmy_cancel_trigger(LemmyCancel *LEMMY_NULLABLE cancel);

/* Makes it usable again. */
LEMMY_API void lemmy_cancel_reset(LemmyCancel *LEMMY_NULLABLE cancel);

/* 1 if it was triggered, else 0; 0 for NULL. */
LEMMY_API int32_t lemmy_cancel_is_triggered(LemmyCancel *LEMMY_NULLABLE cancel);

/* Another reference, which is the same pointer. */
LEMMY_API LemmyCancel *LEMMY_NULLABLE lemmy_cancel_retain(LemmyCancel *LEMMY_NULLABLE cancel);
LEMMY_API void lemmy_cancel_release(LemmyCancel *LEMMY_NULLABLE cancel);

/* ---- thread pools ---------------------------------------------------------------------------------------------- */

/* Threads for the work of models on the CPU. Models may share one: their calls take turns. Idle, it costs nothing. */
typedef struct LemmyPool LemmyPool;

typedef struct LemmyPoolOptions {
    size_t struct_size;
    uint32_t threads; /* 1 to 1024, the calling thread included; LEMMY_DEFAULT: as many CPUs as the process may use */
    uint32_t spin_us; /* microseconds that an idle thread looks for work before it sleeps; LEMMY_DEFAULT: 50 */
    const uint32_t *LEMMY_NULLABLE cpus; /* binds thread i to cpus[i % cpu_count], the calling one excepted (Linux) */
    size_t cpu_count;                    /* 0: threads are not bound */
} LemmyPoolOptions;

/* Writes the defaults; `size` is sizeof(LemmyPoolOptions). ARGUMENT for NULL or a size that cannot be right. */
LEMMY_API LemmyStatus lemmy_pool_options_init(LemmyPoolOptions *options, size_t size);

/* Starts the threads. Where the system refuses some, the pool has fewer: lemmy_pool_threads tells. */
LEMMY_API LemmyStatus lemmy_pool_new(const LemmyPoolOptions *LEMMY_NULLABLE options,
                                     LemmyPool *LEMMY_NULLABLE *LEMMY_NONNULL pool,
                                     LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Threads that work, the calling one included. 0 for NULL. */
LEMMY_API uint32_t lemmy_pool_threads(LemmyPool *LEMMY_NULLABLE pool);

/* Another reference, which is the same pointer. The last release ends the threads. */
LEMMY_API LemmyPool *LEMMY_NULLABLE lemmy_pool_retain(LemmyPool *LEMMY_NULLABLE pool);
LEMMY_API void lemmy_pool_release(LemmyPool *LEMMY_NULLABLE pool);

/* ---- devices --------------------------------------------------------------------------------------------------- */

/*
 * What models can run on, as a JSON array of objects: "backend" ("cpu"), "index" (among those of the backend), "name"
 * (for people, for instance "cpu (avx2)"), "threads" (CPUs that the process may use). More keys may come.
 */
LEMMY_API LemmyStatus lemmy_devices(LemmyBuffer *LEMMY_NULLABLE *LEMMY_NONNULL json,
                                    LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* ---- models ---------------------------------------------------------------------------------------------------- */

/* Weights, tokenizer and chat template of a file. Immutable; shared by sessions and threads. */
typedef struct LemmyModel LemmyModel;

#define LEMMY_STAGE_FILE 1u      /* the file is mapped or read; in bytes */
#define LEMMY_STAGE_TOKENIZER 2u /* the tokenizer is built; 0 of 1, then 1 of 1 */
#define LEMMY_STAGE_WEIGHTS 3u   /* weights are prepared; in layers */
#define LEMMY_STAGE_PROMPT 4u    /* a prompt is read; in tokens */

/* How far a call has come: `done` of `total` of this stage. Returns 0 to go on; else the call fails with CANCELLED. */
typedef int32_t (*LemmyProgressFn)(void *LEMMY_NULLABLE user_data, uint32_t stage, uint64_t done, uint64_t total);

#define LEMMY_LOAD_MAP 0u  /* map the file: memory fills as it is used, and is shared between processes */
#define LEMMY_LOAD_READ 1u /* read it whole: for network drives, or where the file may change */

typedef struct LemmyModelOptions {
    size_t struct_size;
    const char *LEMMY_NULLABLE mmproj_path;   /* GGUF of the model's vision tower, so that it can see; NULL: none */
    LemmyPool *LEMMY_NULLABLE pool;           /* NULL: one of its own, with default options */
    LemmyCancel *LEMMY_NULLABLE cancel;       /* stops loading */
    const char *LEMMY_NULLABLE chat_template; /* Jinja, in place of the file's own; NULL: the file's */
    size_t chat_template_len;
    uint64_t memory_limit; /* bytes; refuses model and sessions that would need more; LEMMY_DEFAULT_64: no limit */
    LemmyProgressFn LEMMY_NULLABLE on_progress; /* during the load */
    void *LEMMY_NULLABLE user_data;             /* of on_progress */
    uint32_t load_mode;                         /* LEMMY_LOAD_*; default LEMMY_LOAD_MAP */
    uint32_t reserved;
} LemmyModelOptions;

/* Writes the defaults; `size` is sizeof(LemmyModelOptions). */
LEMMY_API LemmyStatus lemmy_model_options_init(LemmyModelOptions *options, size_t size);

/* Memory that a model takes, in bytes. The whole, for one session, is the sum of the fields. */
typedef struct LemmyMemory {
    size_t struct_size;      /* sizeof(LemmyMemory), set by the caller */
    uint64_t weights;        /* the file's weights, the vision tower's among them */
    uint64_t engine;         /* copies and tables beside them, and the tokenizer */
    uint64_t kv_per_session; /* cached keys and values of one session */
    uint64_t scratch;        /* working memory of one session */
    uint64_t picture;        /* working memory while a picture is looked at; 0 without a vision tower (since 0.2) */
} LemmyMemory;

/*
 * Reads the headers of a model file (of all parts, if it is split; `path` names the first) and says how much memory it
 * takes with sessions of `context` tokens, at most 16777216. Touches no weights; takes milliseconds.
 *
 * Fails with IO, GGUF or UNSUPPORTED if the file cannot be used. Whatever it fails with, it leaves *out alone.
 */
LEMMY_API LemmyStatus lemmy_model_estimate(const char *path, uint64_t context, LemmyMemory *out,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* The same for a model that is loaded with these options (their vision tower counts), and a cache of LEMMY_KV_*. */
LEMMY_API LemmyStatus lemmy_model_estimate_with(const char *path, const LemmyModelOptions *LEMMY_NULLABLE options,
                                                uint64_t context, uint32_t kv_type, LemmyMemory *out,
                                                LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Loads a model file (of a split one, `path` names the first part). Takes seconds; on_progress is called meanwhile.
 *
 * Fails with IO, GGUF or UNSUPPORTED if the file cannot be used, TEMPLATE if chat_template cannot be read, CANCELLED.
 */
LEMMY_API LemmyStatus lemmy_model_load(const char *path, const LemmyModelOptions *LEMMY_NULLABLE options,
                                       LemmyModel *LEMMY_NULLABLE *LEMMY_NONNULL model,
                                       LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Another reference, which is the same pointer. The memory is given back when no reference and no session is left. */
LEMMY_API LemmyModel *LEMMY_NULLABLE lemmy_model_retain(LemmyModel *LEMMY_NULLABLE model);
LEMMY_API void lemmy_model_release(LemmyModel *LEMMY_NULLABLE model);

/* Facts about a model. The texts live until the last reference of the caller is released. */
typedef struct LemmyModelInfo {
    size_t struct_size;
    const char *name;                            /* for people */
    const char *architecture;                    /* "gemma4" */
    const char *backend;                         /* what it runs on, for instance "cpu (avx2)" */
    const char *types;                           /* number types, most bytes first: "Q4_K,Q6_K,F32" */
    const char *LEMMY_NULLABLE template_warning; /* what a person should know about the chat template, else NULL */
    uint64_t parameters;                         /* numbers in all tensors */
    uint64_t file_bytes;
    uint64_t context;    /* tokens that the model was trained for */
    uint32_t vocab;      /* tokens in the vocabulary */
    uint32_t bos;        /* the token that starts a text; LEMMY_NO_TOKEN if there is none */
    uint32_t has_vision; /* 1 if it was loaded with a vision tower */
    uint32_t reserved;
} LemmyModelInfo;

LEMMY_API LemmyStatus lemmy_model_info(LemmyModel *model, LemmyModelInfo *out,
                                       LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Its chat template (Jinja). Lives until the last reference of the caller is released. */
LEMMY_API LemmyStatus lemmy_model_chat_template(LemmyModel *model, const char *LEMMY_NULLABLE *LEMMY_NONNULL out,
                                                size_t *out_len, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* How a list of messages becomes a prompt. */
typedef struct LemmyChatOptions {
    size_t struct_size;
    const char *LEMMY_NULLABLE tools_json; /* tools that may be called; NULL: the session's own, or none */
    size_t tools_len;
    uint32_t thinking;              /* 1: the model is asked to think first; default 0 */
    uint32_t preserve_thinking;     /* 1: it sees earlier thoughts that led to tool calls; default 0 */
    uint32_t add_generation_prompt; /* 1: end where the model is to speak (default); only for render_chat */
    uint32_t reserved;
    LemmyProgressFn LEMMY_NULLABLE on_progress; /* while the prompt is read; only for sync */
    void *LEMMY_NULLABLE user_data;             /* of on_progress */
} LemmyChatOptions;

/* Writes the defaults; `size` is sizeof(LemmyChatOptions). */
LEMMY_API LemmyStatus lemmy_chat_options_init(LemmyChatOptions *options, size_t size);

/*
 * The text of the prompt that a list of messages becomes, for people to look at. (A model should not be given it: in it
 * a user's words cannot be told from the template's. lemmy_session_sync keeps them apart.)
 *
 * Fails with TEMPLATE; with ARGUMENT that names the message and key.
 */
LEMMY_API LemmyStatus lemmy_model_render_chat(LemmyModel *model, const char *messages_json, size_t messages_len,
                                              const LemmyChatOptions *LEMMY_NULLABLE options,
                                              LemmyBuffer *LEMMY_NULLABLE *LEMMY_NONNULL text,
                                              LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

#define LEMMY_TOKENIZE_PARSE_CONTROL 1u /* "<|turn>" and its like become control tokens: never for what a user typed */
#define LEMMY_TOKENIZE_ADD_BOS 2u       /* in front, if the model wants one and the text has none */

/* Tokens of a text. `flags`: LEMMY_TOKENIZE_*, or 0. BUFFER if `capacity` is too small; *out_count is then the need. */
LEMMY_API LemmyStatus lemmy_model_tokenize(LemmyModel *model, const char *text, size_t text_len, uint32_t flags,
                                           uint32_t *LEMMY_NULLABLE ids, size_t capacity, size_t *out_count,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

#define LEMMY_DETOKENIZE_CONTROL 1u /* spell control tokens, which else give nothing */

/*
 * Text of tokens. `flags`: LEMMY_DETOKENIZE_*, or 0. Bytes that are no UTF-8 become U+FFFD. *out_len is without the
 * NUL that ends the text: `capacity` must be one more.
 */
LEMMY_API LemmyStatus lemmy_model_detokenize(LemmyModel *model, const uint32_t *LEMMY_NULLABLE ids, size_t count,
                                             uint32_t flags, char *LEMMY_NULLABLE text, size_t capacity,
                                             size_t *out_len, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Bytes of one token as it would be printed: not always whole characters, and no NUL behind. As long as the model. */
LEMMY_API LemmyStatus lemmy_model_token_bytes(LemmyModel *model, uint32_t id,
                                              const uint8_t *LEMMY_NULLABLE *LEMMY_NONNULL out, size_t *out_len,
                                              LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* The token with exactly this spelling, control tokens included; LEMMY_NO_TOKEN if there is none. */
LEMMY_API LemmyStatus lemmy_model_token_find(LemmyModel *model, const char *text, size_t text_len, uint32_t *out_id,
                                             LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

#define LEMMY_TOKEN_CONTROL 1u    /* prints nothing */
#define LEMMY_TOKEN_END 2u        /* ends a reply */
#define LEMMY_TOKEN_SUPPRESSED 4u /* is never to be sampled */

/* What a token is: the sum of LEMMY_TOKEN_*. */
LEMMY_API LemmyStatus lemmy_model_token_flags(LemmyModel *model, uint32_t id, uint32_t *out_flags,
                                              LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Turns tokens that come one by one into text that never ends inside a character. Keeps its model alive. */
typedef struct LemmyDecoder LemmyDecoder;

LEMMY_API LemmyStatus lemmy_decoder_new(LemmyModel *model, LemmyDecoder *LEMMY_NULLABLE *LEMMY_NONNULL decoder,
                                        LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Text that is complete after this token, perhaps none. Valid until the next call on this decoder. */
LEMMY_API LemmyStatus lemmy_decoder_push(LemmyDecoder *decoder, uint32_t id,
                                         const char *LEMMY_NULLABLE *LEMMY_NONNULL out, size_t *out_len,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* What was kept back, as U+FFFD; the decoder is as new. Valid until the next call on this decoder. */
LEMMY_API LemmyStatus lemmy_decoder_finish(LemmyDecoder *decoder, const char *LEMMY_NULLABLE *LEMMY_NONNULL out,
                                           size_t *out_len, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

LEMMY_API void lemmy_decoder_free(LemmyDecoder *LEMMY_NULLABLE decoder);

/* ---- pictures -------------------------------------------------------------------------------------------------- */

/* A picture to show a model; needs a model with a vision tower. */
typedef struct LemmyImage LemmyImage;

typedef struct LemmyImageOptions {
    size_t struct_size;
    uint32_t soft_tokens; /* most tokens that it may take: 70, 140, 280, 560 or 1120; LEMMY_DEFAULT: 280 */
    uint32_t reserved;
} LemmyImageOptions;

/* Writes the defaults; `size` is sizeof(LemmyImageOptions). */
LEMMY_API LemmyStatus lemmy_image_options_init(LemmyImageOptions *options, size_t size);

/*
 * Takes the bytes of a PNG, JPEG, WebP, GIF or BMP file, at most 64 MiB. The header is looked at now, the pixels when
 * the picture is shown. Fails with IMAGE; with UNSUPPORTED if this build has no "vision".
 */
LEMMY_API LemmyStatus lemmy_image_from_bytes(const uint8_t *data, size_t size,
                                             const LemmyImageOptions *LEMMY_NULLABLE options,
                                             LemmyImage *LEMMY_NULLABLE *LEMMY_NONNULL image,
                                             LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Takes pixels: rows from the top, red, green, blue in a byte each. `stride` is the bytes from one row to the next, at
 * least 3 * width; the last row may end after its pixels. Fails with IMAGE if it would have more than 64 MiB.
 */
LEMMY_API LemmyStatus lemmy_image_from_rgb(const uint8_t *pixels, uint32_t width, uint32_t height, size_t stride,
                                           const LemmyImageOptions *LEMMY_NULLABLE options,
                                           LemmyImage *LEMMY_NULLABLE *LEMMY_NONNULL image,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Another reference, which is the same pointer. */
LEMMY_API LemmyImage *LEMMY_NULLABLE lemmy_image_retain(LemmyImage *LEMMY_NULLABLE image);
LEMMY_API void lemmy_image_release(LemmyImage *LEMMY_NULLABLE image);

/* ---- sessions -------------------------------------------------------------------------------------------------- */

/* One conversation: tokens, what the model remembers of them, messages. Keeps its model alive. */
typedef struct LemmySession LemmySession;

#define LEMMY_KV_F16 0u  /* 16-bit floats */
#define LEMMY_KV_F32 1u  /* 32-bit floats: exact, twice the memory */
#define LEMMY_KV_Q8_0 2u /* 8 bits a number: little more than half the memory */

typedef struct LemmySessionOptions {
    size_t struct_size;
    uint64_t context;       /* tokens that it can hold; LEMMY_DEFAULT_64: the model's, at most 32768 */
    uint32_t kv_type;       /* LEMMY_KV_*; default LEMMY_KV_F16 */
    uint32_t batch;         /* tokens of a prompt that are read at once; LEMMY_DEFAULT: 512 */
    uint32_t rewind_window; /* tokens that can surely be taken back; LEMMY_DEFAULT: 384 */
    uint32_t reserved;
    const char *LEMMY_NULLABLE system; /* instructions; NULL: none */
    size_t system_len;
    const char *LEMMY_NULLABLE tools_json; /* tools that the model may call; NULL: none */
    size_t tools_len;
    LemmyCancel *LEMMY_NULLABLE cancel; /* stops whatever this session does */
} LemmySessionOptions;

/* Writes the defaults; `size` is sizeof(LemmySessionOptions). */
LEMMY_API LemmyStatus lemmy_session_options_init(LemmySessionOptions *options, size_t size);

/* Memory that the model and a session with these options take together. */
LEMMY_API LemmyStatus lemmy_model_memory(LemmyModel *model, const LemmySessionOptions *LEMMY_NULLABLE options,
                                         LemmyMemory *out, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Makes a session. Its memory is reserved now and fills as it is used. */
LEMMY_API LemmyStatus lemmy_session_new(LemmyModel *model, const LemmySessionOptions *LEMMY_NULLABLE options,
                                        LemmySession *LEMMY_NULLABLE *LEMMY_NONNULL session,
                                        LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

LEMMY_API void lemmy_session_free(LemmySession *LEMMY_NULLABLE session);

/*
 * Adds messages (a JSON array) to the conversation without a reply: what tools answered, or earlier turns. They are
 * read with the next reply. A reply in the making is stopped first. A part {"type":"image","index":0} is images[0].
 *
 *     lemmy_session_add(s, "[{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"{\\\"celsius\\\":21}\"}]",
 *                       LEMMY_NUL_TERMINATED, NULL, 0, &error);
 *     lemmy_session_generate(s, NULL, &error);
 */
LEMMY_API LemmyStatus lemmy_session_add(LemmySession *session, const char *messages_json, size_t messages_len,
                                        LemmyImage *LEMMY_NONNULL const *LEMMY_NULLABLE images, size_t image_count,
                                        LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* What reading a conversation took, in tokens. */
typedef struct LemmySyncReport {
    size_t struct_size;
    uint64_t reused;    /* were there already */
    uint64_t prefilled; /* were read */
} LemmySyncReport;

/*
 * Makes the messages (a JSON array, the whole conversation) the session's own, and reads what of them it has not read
 * yet; lemmy_session_generate then gives the reply. For programs that are sent the whole conversation each time.
 *
 * Fails with CONTEXT_FULL, TEMPLATE or UNSUPPORTED before anything is changed; with CANCELLED, and what was read stays.
 */
LEMMY_API LemmyStatus lemmy_session_sync(LemmySession *session, const char *messages_json, size_t messages_len,
                                         LemmyImage *LEMMY_NONNULL const *LEMMY_NULLABLE images, size_t image_count,
                                         const LemmyChatOptions *LEMMY_NULLABLE options,
                                         LemmySyncReport *LEMMY_NULLABLE out,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* The conversation so far as a JSON array of messages; pictures are data URLs in it. */
LEMMY_API LemmyStatus lemmy_session_messages(LemmySession *session, LemmyBuffer *LEMMY_NULLABLE *LEMMY_NONNULL json,
                                             LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

typedef struct LemmySessionInfo {
    size_t struct_size;
    uint64_t position;      /* tokens that it has read */
    uint64_t capacity;      /* tokens that it can hold */
    uint64_t memory;        /* bytes reserved for it */
    uint64_t messages;      /* of the conversation */
    uint32_t is_generating; /* 1 while a reply is in the making */
    uint32_t reserved;
} LemmySessionInfo;

LEMMY_API LemmyStatus lemmy_session_info(LemmySession *session, LemmySessionInfo *out,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* The tokens that it has read. BUFFER if `capacity` is too small; *out_count is then the need. */
LEMMY_API LemmyStatus lemmy_session_tokens(LemmySession *session, uint32_t *LEMMY_NULLABLE ids, size_t capacity,
                                           size_t *out_count, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Forgets all tokens from `position` on; the list of messages stays. A reply in the making is stopped first.
 * Fails with REWIND_TOO_FAR if that is not possible any more; 0 always is.
 */
LEMMY_API LemmyStatus lemmy_session_rewind(LemmySession *session, uint64_t position,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* A second session with the same past and the same cancel. A reply in the making stays with the first. */
LEMMY_API LemmyStatus lemmy_session_fork(LemmySession *session, LemmySession *LEMMY_NULLABLE *LEMMY_NONNULL other,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Begins anew: no tokens, no messages but the instructions (system). The tools stay. */
LEMMY_API LemmyStatus lemmy_session_clear(LemmySession *session, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* ---- sampling -------------------------------------------------------------------------------------------------- */

#define LEMMY_SAMPLER_PENALTIES 1u
#define LEMMY_SAMPLER_TOP_K 2u
#define LEMMY_SAMPLER_TOP_P 3u
#define LEMMY_SAMPLER_MIN_P 4u
#define LEMMY_SAMPLER_TEMPERATURE 5u

/*
 * How tokens are picked. The default of every field is the model's recommendation where a reply is sampled, and neutral
 * (temperature 1, nothing cut, nothing penalised) in lemmy_sampler_new, which has no model.
 */
typedef struct LemmySamplerOptions {
    size_t struct_size;
    float temperature;       /* divides the logits; 0: always the best token; NaN: default, here and below */
    float top_p;             /* keep the best tokens with together this probability; 1: all */
    float min_p;             /* keep tokens with this share of the best one's probability; 0: all */
    float repeat_penalty;    /* divides positive logits of tokens that were said, multiplies others; 1: off */
    float frequency_penalty; /* taken off for each time that a token was said; 0: off */
    float presence_penalty;  /* taken off if a token was said; 0: off */
    uint32_t top_k;          /* keep so many best tokens; 0: all; LEMMY_DEFAULT */
    uint32_t repeat_last;    /* tokens that penalties look back on; 0: none, LEMMY_ALL_TOKENS: all; LEMMY_DEFAULT */
    uint64_t seed;           /* LEMMY_DEFAULT_64: from the operating system */
    uint32_t order[8];       /* LEMMY_SAMPLER_*: the order of the stages, each at most once; one left out is off */
    uint32_t order_count;    /* entries of order; LEMMY_DEFAULT */
    uint32_t reserved;
    const uint32_t *LEMMY_NULLABLE bias_ids; /* tokens whose logits change ... */
    const float *LEMMY_NULLABLE bias_values; /* ... by so much */
    size_t bias_count;
    const uint32_t *LEMMY_NULLABLE suppress; /* tokens that never come; NULL: default */
    size_t suppress_count;
} LemmySamplerOptions;

/* Writes the defaults; `size` is sizeof(LemmySamplerOptions). */
LEMMY_API LemmyStatus lemmy_sampler_options_init(LemmySamplerOptions *options, size_t size);

/* The model's recommendation. Its arrays live until the caller's last reference of the model is released. */
LEMMY_API LemmyStatus lemmy_model_sampler_defaults(LemmyModel *model, LemmySamplerOptions *out,
                                                   LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* ---- replies --------------------------------------------------------------------------------------------------- */

#define LEMMY_EVENT_PREFILL 1u   /* `done` of `total` tokens of the prompt that were not there already are read */
#define LEMMY_EVENT_THINKING 2u  /* `text`: more of the thoughts */
#define LEMMY_EVENT_TEXT 3u      /* `text`: more of the answer */
#define LEMMY_EVENT_TOOL_CALL 4u /* a whole call: `tool_id`, `tool_name`, `tool_arguments` */
#define LEMMY_EVENT_TOKEN 5u     /* a token, before its text: `token`, its bytes in `text`, `logprob`, `top`, `zone` */
#define LEMMY_EVENT_WARNING 6u   /* `text`: what a person should know and that did not stop the reply */
#define LEMMY_EVENT_FINISHED 7u  /* the last one: `finish_reason`; lemmy_session_finish has more */

#define LEMMY_FINISH_STOP 1u         /* the model was done, or a stop string came */
#define LEMMY_FINISH_LENGTH 2u       /* max_tokens were generated */
#define LEMMY_FINISH_TOOL_CALLS 3u   /* the model waits for the answers of tools */
#define LEMMY_FINISH_CANCELLED 4u    /* a LemmyCancel, a callback or lemmy_session_stop ended it */
#define LEMMY_FINISH_CONTEXT_FULL 5u /* the session has no room left */

#define LEMMY_ZONE_TEXT 1u    /* the token belongs to the answer */
#define LEMMY_ZONE_THOUGHT 2u /* to a thought, its marks included */
#define LEMMY_ZONE_CALL 3u    /* to a tool call */

/* A token that might have come, and the natural logarithm of its probability. This struct never grows. */
typedef struct LemmyTopToken {
    uint32_t token;
    uint32_t reserved;
    double logprob;
} LemmyTopToken;

/*
 * One step of a reply. `kind` says which fields are set; the others are 0 or NULL. Skip kinds that you do not know:
 * newer libraries may have more. The pointers are valid until the next call on the session, in a callback until it
 * returns. In TOKEN events `text` is bytes, not always UTF-8, without a NUL behind. A callback gets the library's own
 * struct: struct_size is then the library's, and fields beyond it are not there.
 */
typedef struct LemmyEvent {
    size_t struct_size; /* sizeof(LemmyEvent), set by the caller */
    uint32_t kind;      /* LEMMY_EVENT_* */
    uint32_t token;
    const char *LEMMY_NULLABLE text;
    size_t text_len;
    double logprob; /* natural logarithm of the token's probability before any sampling option */
    uint64_t done;
    uint64_t total;
    const char *LEMMY_NULLABLE tool_id;        /* unique in the conversation; for "tool_call_id" of the answer */
    const char *LEMMY_NULLABLE tool_name;
    const char *LEMMY_NULLABLE tool_arguments; /* the text of a JSON object */
    size_t tool_arguments_len;
    const LemmyTopToken *LEMMY_NULLABLE top; /* the most probable tokens, best first */
    size_t top_count;
    uint32_t zone;          /* LEMMY_ZONE_* */
    uint32_t finish_reason; /* LEMMY_FINISH_* */
} LemmyEvent;

/* How a reply ended, and what it took. */
typedef struct LemmyFinish {
    size_t struct_size;
    uint32_t reason; /* LEMMY_FINISH_* */
    uint32_t stop;   /* which of the stop strings came; LEMMY_DEFAULT if none did */
    uint64_t seed;   /* that was used: with it and the same options the same prompt gives the same reply */
    uint64_t prompt; /* tokens of the prompt */
    uint64_t cached; /* of these, were there already */
    uint64_t generated;  /* tokens generated, the end token included */
    uint64_t thinking;   /* of these, in thoughts */
    uint64_t drafted;    /* tokens guessed ahead */
    uint64_t accepted;   /* of these, right */
    uint64_t prefill_us; /* microseconds of reading the prompt */
    uint64_t decode_us;  /* microseconds of generating */
} LemmyFinish;

/* Sees an event. Returns 0 to go on; else the reply ends with LEMMY_FINISH_CANCELLED. */
typedef int32_t (*LemmyEventFn)(void *LEMMY_NULLABLE user_data, const LemmyEvent *event);

/*
 * Sees the logits before a token is sampled, and may change them; `position` is the one that the token will have.
 * Grammar and tool_choice come after it. Returns 0 to go on; else the reply ends with this token, as cancelled.
 */
typedef int32_t (*LemmyLogitsFn)(void *LEMMY_NULLABLE user_data, uint64_t position, float *logits, size_t count);

#define LEMMY_CONSTRAINT_NONE 0u
#define LEMMY_CONSTRAINT_JSON_SCHEMA 1u /* JSON that fits this JSON schema; {"type":"object"} for any object */
#define LEMMY_CONSTRAINT_REGEX 2u       /* text that this regular expression matches as a whole */
#define LEMMY_CONSTRAINT_LARK 3u        /* text of this Lark grammar, from its rule `start` */

#define LEMMY_TOOLS_AUTO 0u     /* as the model likes */
#define LEMMY_TOOLS_NONE 1u     /* no call */
#define LEMMY_TOOLS_REQUIRED 2u /* at least one; needs "grammar" */
#define LEMMY_TOOLS_NAMED 3u    /* the tool `tool_name`; needs "grammar" */

typedef struct LemmyGenerateOptions {
    size_t struct_size;
    uint64_t max_tokens; /* thoughts included; 0: the prompt is read, no more; LEMMY_DEFAULT_64: while there is room */
    uint64_t seed;       /* in place of the sampler's; LEMMY_DEFAULT_64: the sampler's */
    const LemmySamplerOptions *LEMMY_NULLABLE sampler; /* NULL: the model's recommendation */
    const char *LEMMY_NONNULL const *LEMMY_NULLABLE stop; /* the answer ends before any of these NUL-terminated texts */
    size_t stop_count;                      /* at most 256, of 1 to 1024 bytes */
    uint32_t thinking;                      /* 1: think first; default 0 */
    uint32_t thinking_budget;               /* most tokens of thoughts; LEMMY_DEFAULT: no limit */
    uint32_t constraint_kind;               /* LEMMY_CONSTRAINT_*; needs "grammar" */
    uint32_t tool_choice;                   /* LEMMY_TOOLS_* */
    const char *LEMMY_NULLABLE constraint;  /* what the answer must look like; thoughts are free */
    size_t constraint_len;
    const char *LEMMY_NULLABLE tool_name;   /* for LEMMY_TOOLS_NAMED */
    uint32_t logprobs;                      /* TOKEN events with so many alternatives, 0 to 20; LEMMY_DEFAULT: none */
    uint32_t speculate;                     /* guess ahead, at most 255 tokens; the reply stays the same; 0: off */
    uint32_t single_tool_call;              /* 1: the reply ends with its first call */
    uint32_t penalize_reply_only;           /* 1: penalties do not look at the prompt */
    LemmyCancel *LEMMY_NULLABLE cancel;     /* ends the reply, in place of the session's */
    LemmyLogitsFn LEMMY_NULLABLE on_logits; /* before each token */
    LemmyEventFn LEMMY_NULLABLE on_token;   /* after each token: a TOKEN event; `logprob` is NaN unless asked for */
    void *LEMMY_NULLABLE user_data;         /* of both */
} LemmyGenerateOptions;

/* Writes the defaults; `size` is sizeof(LemmyGenerateOptions). */
LEMMY_API LemmyStatus lemmy_generate_options_init(LemmyGenerateOptions *options, size_t size);

/*
 * Begins the reply to a user's text and pictures (shown before the text). A reply in the making is stopped first.
 * lemmy_session_next or lemmy_session_run then do the work; what the model says becomes part of the conversation.
 *
 * Fails, and changes nothing, with CONTEXT_FULL if the prompt does not fit, UNSUPPORTED for what this build or model
 * cannot do, TEMPLATE, IMAGE.
 */
LEMMY_API LemmyStatus lemmy_session_send(LemmySession *session, const char *text, size_t text_len,
                                         LemmyImage *LEMMY_NONNULL const *LEMMY_NULLABLE images, size_t image_count,
                                         const LemmyGenerateOptions *LEMMY_NULLABLE options,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Begins the reply to messages that wait for one, after add or sync (with the same `thinking` as there: else the end of
 * the prompt is read again); else goes on from the last token that the session has. Fails as lemmy_session_send.
 */
LEMMY_API LemmyStatus lemmy_session_generate(LemmySession *session, const LemmyGenerateOptions *LEMMY_NULLABLE options,
                                             LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * The next event of the reply. After FINISHED it is FINISHED again.
 *
 * Fails with STATE if no reply was begun, or it has failed; with what a forward pass can fail with (FILE_CHANGED,
 * NUMERIC, FORKED): the conversation is then as it was before this reply.
 */
LEMMY_API LemmyStatus lemmy_session_next(LemmySession *session, LemmyEvent *out,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Runs the reply to its end and shows each event, FINISHED included: a loop over lemmy_session_next, no more. If
 * on_event stops it, that is no failure: *out then says LEMMY_FINISH_CANCELLED. on_event NULL: shows nothing.
 */
LEMMY_API LemmyStatus lemmy_session_run(LemmySession *session, LemmyEventFn LEMMY_NULLABLE on_event,
                                        void *LEMMY_NULLABLE user_data, LemmyFinish *LEMMY_NULLABLE out,
                                        LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Ends the reply in the making; what it has said stays in the conversation. LEMMY_OK too if there is none. */
LEMMY_API LemmyStatus lemmy_session_stop(LemmySession *session, LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* How the last reply ended. Fails with STATE if there is none, it goes on still, or it has failed. */
LEMMY_API LemmyStatus lemmy_session_finish(LemmySession *session, LemmyFinish *out,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* ---- tokens and logits ----------------------------------------------------------------------------------------- */

/*
 * Reads tokens, without logits. on_progress is told how far it is. Fails with CONTEXT_FULL before anything is read;
 * with CANCELLED, and what was read stays. A reply in the making is stopped first, and no message waits for one.
 */
LEMMY_API LemmyStatus lemmy_session_prefill(LemmySession *session, const uint32_t *LEMMY_NULLABLE ids, size_t count,
                                            LemmyProgressFn LEMMY_NULLABLE on_progress, void *LEMMY_NULLABLE user_data,
                                            LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Reads tokens, at least one; logits of the last one, as many as the vocabulary has tokens. The caller may change them.
 * Valid until the next call on this session. Fails as lemmy_session_prefill.
 *
 *     uint32_t id;
 *     lemmy_session_forward(session, ids, count, &logits, &vocab, &error);
 *     lemmy_sampler_sample(sampler, logits, vocab, &id, &error);
 */
LEMMY_API LemmyStatus lemmy_session_forward(LemmySession *session, const uint32_t *ids, size_t count,
                                            float *LEMMY_NULLABLE *LEMMY_NONNULL out_logits, size_t *out_count,
                                            LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Picks tokens. Same options, seed and logits: same tokens, for ever. */
typedef struct LemmySampler LemmySampler;

LEMMY_API LemmyStatus lemmy_sampler_new(const LemmySamplerOptions *LEMMY_NULLABLE options,
                                        LemmySampler *LEMMY_NULLABLE *LEMMY_NONNULL sampler,
                                        LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* A token for one row of logits, in the order of ids. Fails with NUMERIC for NaN and positive infinity. */
LEMMY_API LemmyStatus lemmy_sampler_sample(LemmySampler *sampler, const float *logits, size_t count, uint32_t *out_id,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Tells the penalties what was said, prompt and answer alike. */
LEMMY_API LemmyStatus lemmy_sampler_accept(LemmySampler *sampler, uint32_t id,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* The seed in use. */
LEMMY_API LemmyStatus lemmy_sampler_seed(LemmySampler *sampler, uint64_t *out_seed,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

LEMMY_API void lemmy_sampler_free(LemmySampler *LEMMY_NULLABLE sampler);

/* ---- saved sessions -------------------------------------------------------------------------------------------- */

/*
 * Saves a session to a file that only the owner may read, whole or not at all: tokens, conversation, and what the model
 * remembers. A reply in the making is not saved. Fails with IO.
 */
LEMMY_API LemmyStatus lemmy_session_save_file(LemmySession *session, const char *path,
                                              LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/*
 * Brings a saved session back without reading its tokens again; it goes on bit by bit as the saved one. `cancel` stops
 * what it does later. Fails with IO; with SESSION if the bytes are damaged or of another model.
 */
LEMMY_API LemmyStatus lemmy_model_restore_file(LemmyModel *model, const char *path, LemmyCancel *LEMMY_NULLABLE cancel,
                                               LemmySession *LEMMY_NULLABLE *LEMMY_NONNULL session,
                                               LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Takes the next bytes. Returns 0 when it has them all; else the call fails with CANCELLED. */
typedef int32_t (*LemmyWriteFn)(void *LEMMY_NULLABLE user_data, const uint8_t *data, size_t size);

/* Gives up to `capacity` bytes and their number, 0 at the end. Returns 0; else the call fails with CANCELLED. */
typedef int32_t (*LemmyReadFn)(void *LEMMY_NULLABLE user_data, uint8_t *data, size_t capacity, size_t *out_size);

/* Saves a session through a function. */
LEMMY_API LemmyStatus lemmy_session_save(LemmySession *session, LemmyWriteFn write, void *LEMMY_NULLABLE user_data,
                                         LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

/* Brings one back through a function, which may be asked for more bytes than the session has. */
LEMMY_API LemmyStatus lemmy_model_restore(LemmyModel *model, LemmyReadFn read, void *LEMMY_NULLABLE user_data,
                                          LemmyCancel *LEMMY_NULLABLE cancel,
                                          LemmySession *LEMMY_NULLABLE *LEMMY_NONNULL session,
                                          LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

LEMMY_END
#ifdef __cplusplus
}
#endif

#endif /* LEMMY_H */
