/** Lemmy for Kotlin and Java: models, sessions and replies of lemmy.h. [Jna] and [Ffm] are the two ways to C. */
package lemmy

private const val ABI = 2 // major 0, minor 2
private const val OK = 0

/** A call that failed. */
class LemmyException(val code: Int, val name: String, message: String) : RuntimeException(message)

/** One step of a reply. */
sealed class Event {
    /** So many tokens of the prompt are read. */
    data class Prefill(val done: Long, val total: Long) : Event()

    data class Thinking(val text: String) : Event()

    data class Text(val text: String) : Event()

    /** A call that the model makes; [arguments] is the text of a JSON object. */
    data class ToolCall(val id: String, val name: String, val arguments: String) : Event()

    data class Warning(val text: String) : Event()

    /** The last one. */
    data class Finished(val reason: Reason) : Event()
}

/** Why a reply ended. In the order of LEMMY_FINISH_*. */
enum class Reason { UNKNOWN, STOP, LENGTH, TOOL_CALLS, CANCELLED, CONTEXT_FULL }

/** The library. Everything starts here: `Lemmy(Jna())` or `Lemmy(Ffm())`. */
class Lemmy(internal val native: Native) {
    init {
        val abi = native.int("lemmy_abi_version")
        check(abi ushr 16 == 0 && abi and 0xffff >= ABI) { "this library has ABI ${abi ushr 16}.${abi and 0xffff}" }
    }

    val version: String get() = text(native.long("lemmy_version"))

    /** What was built in. */
    val features: List<String> get() = text(native.long("lemmy_features")).split(',')

    /**
     * Loads a model file; [mmproj] is the one with its vision tower. [onProgress] sees how far it is (LEMMY_STAGE_*,
     * done, total) and returns false to stop.
     */
    fun load(
        path: String,
        mmproj: String? = null,
        onProgress: ((stage: Int, done: Long, total: Long) -> Boolean)? = null,
    ): Model {
        native.scope().use { scope ->
            val options = options(scope, "lemmy_model_options_init", MODEL_OPTIONS.size)
            mmproj?.let { options.put(MODEL_OPTIONS["mmproj_path"], scope.text(it).address) }
            var thrown: Throwable? = null
            val callback = onProgress?.let {
                scope.progress { stage, done, total ->
                    // No exception may leave through C.
                    try {
                        if (it(stage, done, total)) 0 else 1
                    } catch (failure: Throwable) {
                        thrown = failure
                        1
                    }
                }
            }
            options.put(MODEL_OPTIONS["on_progress"], callback ?: 0L)
            try {
                return Model(this, make(scope, "lemmy_model_load", scope.text(path).address, options.address))
            } catch (failure: LemmyException) {
                throw thrown ?: failure
            }
        }
    }

    /** Calls a fallible function. */
    internal fun call(scope: Native.Scope, function: String, vararg arguments: Any) {
        val error = scope.block(8)
        val status = native.int(function, *arguments, error.address)
        if (status != OK) throw failure(status, error.long(0))
    }

    /** Calls a function that makes an object. */
    internal fun make(scope: Native.Scope, function: String, vararg arguments: Any): Long {
        val out = scope.block(8)
        call(scope, function, *arguments, out.address)
        return out.long(0)
    }

    /** Options with their defaults. */
    internal fun options(scope: Native.Scope, init: String, size: Int): Native.Block {
        val options = scope.block(size)
        check(native.int(init, options.address, size.toLong()) == OK) { init }
        return options
    }

    /** A text that the library lends; without a size it ends with a NUL. */
    internal fun text(address: Long, size: Long = -1): String {
        if (address == 0L) return ""
        if (size >= 0) return String(native.bytes(address, size.toInt()))
        val length = generateSequence(0) { it + 1 }.first { native.bytes(address + it, 1)[0] == 0.toByte() }
        return String(native.bytes(address, length))
    }

    private fun failure(status: Int, error: Long): LemmyException {
        val name = text(native.long("lemmy_status_name", status))
        val message = text(native.long("lemmy_error_message", error))
        native.run("lemmy_error_free", error)
        return LemmyException(status, name, message)
    }
}

/** A loaded model. */
class Model internal constructor(private val lemmy: Lemmy, private var handle: Long) : AutoCloseable {
    /** A conversation; [tools] is a JSON array as OpenAI's interface has it, [context] the tokens that it can hold. */
    fun session(system: String? = null, tools: String? = null, context: Long? = null): Session {
        check(handle != 0L) { "this model was closed" }
        lemmy.native.scope().use { scope ->
            val options = lemmy.options(scope, "lemmy_session_options_init", SESSION_OPTIONS.size)
            for ((field, text) in mapOf("system" to system, "tools" to tools)) {
                val lent = scope.text(text ?: continue)
                val pointer = if (field == "tools") "tools_json" else field
                options.put(SESSION_OPTIONS[pointer], lent.address)
                options.put(SESSION_OPTIONS[field + "_len"], lent.size)
            }
            context?.let { options.put(SESSION_OPTIONS["context"], it) }
            return Session(lemmy, lemmy.make(scope, "lemmy_session_new", handle, options.address))
        }
    }

    override fun close() {
        lemmy.native.run("lemmy_model_release", handle)
        handle = 0
    }
}

/** A picture: the bytes of a PNG, JPEG, WebP, GIF or BMP file. */
class Image(private val lemmy: Lemmy, file: ByteArray) : AutoCloseable {
    internal var handle = lemmy.native.scope().use { scope ->
        val bytes = scope.bytes(file)
        lemmy.make(scope, "lemmy_image_from_bytes", bytes.address, bytes.size, 0L)
    }
        private set

    override fun close() {
        lemmy.native.run("lemmy_image_release", handle)
        handle = 0
    }
}

/** Stops a reply from any thread. */
class Cancel(private val lemmy: Lemmy) : AutoCloseable {
    internal var handle = lemmy.native.long("lemmy_cancel_new")
        private set

    fun trigger() = lemmy.native.run("lemmy_cancel_trigger", handle)

    fun reset() = lemmy.native.run("lemmy_cancel_reset", handle)

    override fun close() {
        lemmy.native.run("lemmy_cancel_release", handle)
        handle = 0
    }
}

/** What is asked of a reply; null: as the model recommends. */
data class Wishes(
    val temperature: Float? = null,
    val maxTokens: Long? = null,
    val seed: Long? = null,
    val thinking: Boolean = false,
    val cancel: Cancel? = null,
)

/** One conversation. One thread at a time. */
class Session internal constructor(private val lemmy: Lemmy, private var handle: Long) : AutoCloseable {
    /** Replies that were begun. */
    private var replies = 0

    /** Says something, with pictures before it; the reply is made while the sequence is walked, once. */
    fun send(text: String, wishes: Wishes = Wishes(), images: List<Image> = emptyList()): Sequence<Event> =
        begin(wishes) { scope, options ->
            val data = scope.text(text)
            val array = scope.block(8 * images.size)
            images.forEachIndexed { place, image -> array.put(8 * place, image.handle) }
            val count = images.size.toLong()
            lemmy.call(
                scope, "lemmy_session_send", open(), data.address, data.size, array.address, count, options.address,
            )
        }

    /** A reply to messages that were added. */
    fun generate(wishes: Wishes = Wishes()): Sequence<Event> =
        begin(wishes) { scope, options -> lemmy.call(scope, "lemmy_session_generate", open(), options.address) }

    /** Adds what a tool answered: the text of a JSON value. */
    fun addToolAnswer(call: Event.ToolCall, json: String) {
        val id = call.id.replace("\\", "\\\\").replace("\"", "\\\"")
        add("""[{"role":"tool","tool_call_id":"$id","content":$json}]""")
    }

    /** Adds messages, a JSON array. */
    fun add(messages: String) = lemmy.native.scope().use { scope ->
        val data = scope.text(messages)
        lemmy.call(scope, "lemmy_session_add", open(), data.address, data.size, 0L, 0L)
    }

    /** Ends the reply in the making; what was said stays. */
    fun stop() = lemmy.native.scope().use { scope -> lemmy.call(scope, "lemmy_session_stop", open()) }

    override fun close() {
        lemmy.native.run("lemmy_session_free", handle)
        handle = 0
    }

    private fun open(): Long = handle.also { check(it != 0L) { "this session was closed" } }

    private fun begin(wishes: Wishes, call: (Native.Scope, Native.Block) -> Unit): Sequence<Event> {
        lemmy.native.scope().use { scope ->
            val sampler = lemmy.options(scope, "lemmy_sampler_options_init", SAMPLER_SIZE)
            wishes.temperature?.let { sampler.put(SAMPLER_OPTIONS["temperature"], it) }
            val options = lemmy.options(scope, "lemmy_generate_options_init", GENERATE_OPTIONS.size)
            options.put(GENERATE_OPTIONS["sampler"], sampler.address)
            wishes.maxTokens?.let { options.put(GENERATE_OPTIONS["max_tokens"], it) }
            wishes.seed?.let { options.put(GENERATE_OPTIONS["seed"], it) }
            if (wishes.thinking) options.put(GENERATE_OPTIONS["thinking"], 1)
            options.put(GENERATE_OPTIONS["cancel"], wishes.cancel?.handle ?: 0L)
            call(scope, options)
        }
        val mine = ++replies
        return sequence {
            while (true) {
                check(mine == replies) { "the session has begun another reply" }
                val event = next() ?: continue
                yield(event)
                if (event is Event.Finished) break
            }
        }.constrainOnce()
    }

    /** The next event; null for a kind that is not known here. */
    private fun next(): Event? {
        lemmy.native.scope().use { scope ->
            val raw = scope.block(EVENT.size)
            raw.put(EVENT["struct_size"], EVENT.size.toLong())
            lemmy.call(scope, "lemmy_session_next", open(), raw.address)
            fun text(field: String) = lemmy.text(raw.long(EVENT[field]), raw.long(EVENT[field + "_len"]))
            fun name(field: String) = lemmy.text(raw.long(EVENT[field]))
            return when (raw.int(EVENT["kind"])) {
                1 -> Event.Prefill(raw.long(EVENT["done"]), raw.long(EVENT["total"]))
                2 -> Event.Thinking(text("text"))
                3 -> Event.Text(text("text"))
                4 -> Event.ToolCall(name("tool_id"), name("tool_name"), text("tool_arguments"))
                6 -> Event.Warning(text("text"))
                7 -> Event.Finished(Reason.values().getOrElse(raw.int(EVENT["finish_reason"])) { Reason.UNKNOWN })
                else -> null
            }
        }
    }
}
