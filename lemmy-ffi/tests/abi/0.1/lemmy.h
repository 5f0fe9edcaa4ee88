/*
 * lemmy.h - run Lemmy / Gemma 4 26B-A4B from its GGUF files, in C.
 *
 * This is ABI 0.1, a first set: version, errors, and the memory estimate of a model file. The functions that load,
 * generate and keep sessions are not part of it yet. Until 1.0 anything here may still change; the rules below stay.
 *
 * OWNERSHIP  What a function hands out through an out-pointer belongs to the caller and is given back with the
 *            _free function of its kind; all of those take NULL. Functions that return `const char *` keep the text:
 *            "static" means for ever, else the comment names the owner.
 *
 * ERRORS     Fallible functions return a LemmyStatus: LEMMY_OK, or the kind of failure. The last parameter is
 *            `LemmyError **error`; pass NULL if the status is enough. Otherwise *error is always written: NULL on
 *            success, an error object on failure. It may be uninitialised before. There is no "last error" anywhere.
 *
 * THREADS    Every function here may be called from any thread at any time. An error object may be read by several
 *            threads at once, and freed by one.
 *
 * STRUCTS    Set struct_size to sizeof the struct before a call that fills it. That is how a program and a library of
 *            different age get along: no more is written than the program knows, and what the library does not know
 *            is zero. Structs only ever grow at the end.
 *
 * TEXT       UTF-8, ended by NUL. Text is copied before a call returns.
 *
 * PROCESS    No function prints, exits or aborts. A fault of the library is LEMMY_E_INTERNAL with the place in its
 *            message. Memory for a model is asked for before it is used, and its lack is LEMMY_E_OUT_OF_MEMORY; only where
 *            the system refuses a few bytes does Rust end the process.
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
#define LEMMY_BEGIN                                                                                                    \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wnullability-extension\"")                   \
        _Pragma("clang assume_nonnull begin")
#define LEMMY_END _Pragma("clang assume_nonnull end") _Pragma("clang diagnostic pop")
#else
#define LEMMY_NULLABLE
#define LEMMY_BEGIN
#define LEMMY_END
#endif

#ifdef __cplusplus
extern "C" {
#endif
LEMMY_BEGIN

/* ---- version --------------------------------------------------------------------------------------------------- */

#define LEMMY_ABI_MAJOR 0u
#define LEMMY_ABI_MINOR 1u

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

/* What was built in, separated by commas, for instance "cpu". Static. */
LEMMY_API const char *lemmy_features(void);

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/*
 * 0 or the kind of failure. Numbers are never changed and never used again; unknown ones come from a newer library.
 * 1 to 99 are kept for states that only the C interface knows; there are none today.
 */
typedef int32_t LemmyStatus;

#define LEMMY_OK 0
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
#define LEMMY_E_CANCELLED 800      /* the caller asked to stop */
#define LEMMY_E_ARGUMENT 850       /* an argument is out of its range, NULL, no UTF-8, or a struct without its size */
#define LEMMY_E_NUMERIC 860        /* a step gave NaN or infinity: damaged weights or input */
#define LEMMY_E_FORKED 870         /* used in a forked process */
#define LEMMY_E_INTERNAL 900       /* a fault of the library */

/* Name of a status, for instance "ContextFull"; "Unknown" for a number that this library does not know. Static. */
LEMMY_API const char *lemmy_status_name(LemmyStatus status);

/* What went wrong in one call. */
typedef struct LemmyError LemmyError;

/* The status that the failed call returned. LEMMY_OK for NULL. */
LEMMY_API LemmyStatus lemmy_error_code(const LemmyError *LEMMY_NULLABLE error);

/*
 * What went wrong, in English: which file, key, tensor or argument, what was found and what was expected.
 * Lives as long as the error. "" for NULL.
 */
LEMMY_API const char *lemmy_error_message(const LemmyError *LEMMY_NULLABLE error);

#define LEMMY_VALUE_NEEDED 1u    /* bytes that were asked for (OUT_OF_MEMORY) */
#define LEMMY_VALUE_LIMIT 2u     /* bytes that may be used (OUT_OF_MEMORY); lowest position (REWIND_TOO_FAR) */
#define LEMMY_VALUE_USED 3u      /* positions filled (CONTEXT_FULL) */
#define LEMMY_VALUE_REQUESTED 4u /* positions asked for (CONTEXT_FULL); position asked for (REWIND_TOO_FAR) */
#define LEMMY_VALUE_CAPACITY 5u  /* positions that the session holds (CONTEXT_FULL) */
#define LEMMY_VALUE_POSITION 6u  /* offset in the file (GGUF) */

/*
 * Reads a number out of an error, so that nobody has to parse sentences.
 * Returns 1 and sets *out, or 0 and leaves it alone if this error has no such number.
 */
LEMMY_API int32_t lemmy_error_value(const LemmyError *LEMMY_NULLABLE error, uint32_t which,
                                    uint64_t *LEMMY_NULLABLE out);

/* Frees an error. */
LEMMY_API void lemmy_error_free(LemmyError *LEMMY_NULLABLE error);

/* ---- model files ----------------------------------------------------------------------------------------------- */

/* Memory that a model takes, in bytes. The whole, for one session, is the sum of the fields. */
typedef struct LemmyMemory {
    size_t struct_size;      /* sizeof(LemmyMemory), set by the caller */
    uint64_t weights;        /* the file's weights */
    uint64_t engine;         /* copies and tables beside them, and the tokenizer */
    uint64_t kv_per_session; /* cached keys and values of one session */
    uint64_t scratch;        /* working memory of one session */
} LemmyMemory;

/*
 * Reads the headers of a model file (of all parts, if it is split; `path` names the first) and says how much memory it
 * takes with sessions of `context` tokens, at most 16777216. Touches no weights; takes milliseconds.
 *
 * Fails with IO, GGUF or UNSUPPORTED if the file cannot be used. Whatever it fails with, it leaves *out alone.
 */
LEMMY_API LemmyStatus lemmy_model_estimate(const char *path, uint64_t context, LemmyMemory *out,
                                           LemmyError *LEMMY_NULLABLE *LEMMY_NULLABLE error);

LEMMY_END
#ifdef __cplusplus
}
#endif

#endif /* LEMMY_H */
