/* Part of lemmy.hpp: errors, the way of exceptions through C, and the objects that can be shared. */
#ifndef LEMMY_BASE_HPP
#define LEMMY_BASE_HPP

#include "../lemmy.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lemmy {

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/* A call that failed. what() is the message: which file, key or argument, what was found and what was expected. */
class Error : public std::runtime_error {
public:
    Error(LemmyStatus code, const std::string &message) : std::runtime_error(message), code_(code) {}

    /* LEMMY_E_*. */
    LemmyStatus code() const noexcept { return code_; }

    /* Its name, for instance "ContextFull". */
    const char *name() const noexcept { return lemmy_status_name(code_); }

    /* A number of the error, LEMMY_VALUE_*, if it has that one. */
    std::optional<std::uint64_t> value(std::uint32_t which) const {
        return which < values_.size() ? values_[which] : std::nullopt;
    }

    /* Throws what a call says; takes the error object. Nothing for LEMMY_OK. */
    static void check(LemmyStatus status, LemmyError *error) {
        if (status == LEMMY_OK) return;
        const std::unique_ptr<LemmyError, void (*)(LemmyError *)> owner(error, lemmy_error_free);
        Error thrown(status, error ? lemmy_error_message(error) : lemmy_status_name(status));
        for (std::uint32_t which = 0; which < thrown.values_.size(); ++which) {
            std::uint64_t value = 0;
            if (lemmy_error_value(error, which, &value)) thrown.values_[which] = value;
        }
        throw thrown;
    }

private:
    LemmyStatus code_;
    std::array<std::optional<std::uint64_t>, LEMMY_VALUE_POSITION + 1> values_;
};

/* ---- what the classes below are made of ------------------------------------------------------------------------ */

namespace detail {

/* Makes a call that takes an error as its last argument; throws what it says. */
template <class Call> void run(Call &&call) {
    LemmyError *error = nullptr;
    const LemmyStatus status = call(&error);
    Error::check(status, error);
}

/* An exception on its way through C: caught in a callback, thrown again after the call. */
class Carrier {
public:
    /* The C answer of a callback: 0 to go on. After an exception nothing more is called. */
    template <class Callback> std::int32_t guard(Callback &&callback) noexcept {
        if (thrown_) return 1;
        try {
            return callback() ? 0 : 1;
        } catch (...) {
            thrown_ = std::current_exception();
            return 1;
        }
    }

    /* What was thrown has precedence over the failure that it caused. */
    void rethrow() {
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    }

    /* A call with callbacks that use this carrier. */
    template <class Call> void run(Call &&call) {
        LemmyError *error = nullptr;
        const LemmyStatus status = call(&error);
        if (thrown_) lemmy_error_free(std::exchange(error, nullptr));
        rethrow();
        Error::check(status, error);
    }

private:
    std::exception_ptr thrown_;
};

template <class T, void (*Free)(T *)> struct Deleter {
    void operator()(T *object) const noexcept { Free(object); }
};

/* An object with one owner. */
template <class T, void (*Free)(T *)> using Owned = std::unique_ptr<T, Deleter<T, Free>>;

/* A reference to a shared object. */
template <class T, T *(*Retain)(T *), void (*Release)(T *)> class Shared {
public:
    explicit Shared(T *reference = nullptr) noexcept : object_(reference) {}
    Shared(const Shared &other) noexcept : object_(Retain(other.object_)) {}
    Shared(Shared &&other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Shared &operator=(Shared other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Shared() { Release(object_); }
    T *get() const noexcept { return object_; }

private:
    T *object_;
};

inline std::string take_text(LemmyBuffer *buffer) {
    const Owned<LemmyBuffer, lemmy_buffer_free> owner(buffer);
    return std::string(reinterpret_cast<const char *>(lemmy_buffer_data(buffer)), lemmy_buffer_size(buffer));
}

/* A text to read: a view without one is empty, NULL would be none. */
inline const char *data(std::string_view text) { return text.data() ? text.data() : ""; }
inline const char *data(const std::optional<std::string> &text) { return text ? text->data() : nullptr; }
inline std::size_t size(const std::optional<std::string> &text) { return text ? text->size() : 0; }

/* Default options of a C struct. */
template <class T> T defaults(LemmyStatus (*init)(T *, std::size_t)) {
    T options;
    Error::check(init(&options, sizeof options), nullptr);
    return options;
}

/* A C struct that a call fills. */
template <class T> T to_fill() {
    T out{};
    out.struct_size = sizeof out;
    return out;
}

/* An array whose size a first call tells: `call(data, capacity, &count, &error)`. */
template <class T, class Call> std::vector<T> array(Call &&call) {
    std::size_t count = 0;
    LemmyError *error = nullptr;
    const LemmyStatus status = call(nullptr, std::size_t{0}, &count, &error);
    if (status == LEMMY_E_BUFFER) {
        lemmy_error_free(error);
    } else {
        Error::check(status, error);
    }
    std::vector<T> out(count);
    if (count > 0) run([&](LemmyError **e) { return call(out.data(), out.size(), &count, e); });
    return out;
}

} // namespace detail

/* Throws unless the library that runs fits this header. Model and Pool call it themselves. */
inline void check_abi() {
    const std::uint32_t abi = lemmy_abi_version();
    if (abi >> 16 != LEMMY_ABI_MAJOR || (abi & 0xffff) < LEMMY_ABI_MINOR)
        throw Error(LEMMY_E_UNSUPPORTED, "liblemmy " + std::string(lemmy_version()) + " does not fit its header");
}

/* What models can run on, as JSON. */
inline std::string devices() {
    LemmyBuffer *json = nullptr;
    detail::run([&](LemmyError **e) { return lemmy_devices(&json, e); });
    return detail::take_text(json);
}

/* ---- cancel, pool, image --------------------------------------------------------------------------------------- */

/* Stops running work from any thread. */
class Cancel {
public:
    Cancel() : object_(lemmy_cancel_new()) {}
    void trigger() const noexcept { lemmy_cancel_trigger(get()); }
    void reset() const noexcept { lemmy_cancel_reset(get()); }
    bool is_triggered() const noexcept { return lemmy_cancel_is_triggered(get()) != 0; }
    LemmyCancel *get() const noexcept { return object_.get(); }

private:
    detail::Shared<LemmyCancel, lemmy_cancel_retain, lemmy_cancel_release> object_;
};

/* Threads that models share. */
class Pool {
public:
    /* `threads` counts the calling one; LEMMY_DEFAULT: as many CPUs as the process may use. */
    explicit Pool(std::uint32_t threads = LEMMY_DEFAULT) {
        check_abi();
        auto options = detail::defaults(lemmy_pool_options_init);
        options.threads = threads;
        LemmyPool *pool = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_pool_new(&options, &pool, e); });
        object_ = Object(pool);
    }
    std::uint32_t threads() const noexcept { return lemmy_pool_threads(get()); }
    LemmyPool *get() const noexcept { return object_.get(); }

private:
    using Object = detail::Shared<LemmyPool, lemmy_pool_retain, lemmy_pool_release>;
    Object object_;
};

/* A picture. */
class Image {
public:
    /* The bytes of a PNG, JPEG, WebP, GIF or BMP file. */
    static Image from_bytes(const void *bytes, std::size_t size, std::uint32_t soft_tokens = LEMMY_DEFAULT) {
        const auto options = with_budget(soft_tokens);
        LemmyImage *image = nullptr;
        detail::run([&](LemmyError **e) {
            return lemmy_image_from_bytes(static_cast<const std::uint8_t *>(bytes), size, &options, &image, e);
        });
        return Image(image);
    }

    /* Pixels; see lemmy_image_from_rgb. */
    static Image from_rgb(const std::uint8_t *pixels, std::uint32_t width, std::uint32_t height, std::size_t stride,
                          std::uint32_t soft_tokens = LEMMY_DEFAULT) {
        const auto options = with_budget(soft_tokens);
        LemmyImage *image = nullptr;
        detail::run([&](LemmyError **e) {
            return lemmy_image_from_rgb(pixels, width, height, stride, &options, &image, e);
        });
        return Image(image);
    }

    LemmyImage *get() const noexcept { return object_.get(); }

private:
    explicit Image(LemmyImage *image) : object_(image) {}
    static LemmyImageOptions with_budget(std::uint32_t soft_tokens) {
        auto options = detail::defaults(lemmy_image_options_init);
        options.soft_tokens = soft_tokens;
        return options;
    }
    detail::Shared<LemmyImage, lemmy_image_retain, lemmy_image_release> object_;
};

} // namespace lemmy

#endif // LEMMY_BASE_HPP
