package lemmy

/**
 * How C is called. [Jna] and [Ffm] do it; everything else is the same.
 *
 * Arguments and results are `Int` (32 bits) and `Long` (64 bits, `size_t`, pointers): enough for lemmy.h on 64-bit
 * machines, where pointers travel like integers.
 */
interface Native {
    /** Calls a function that returns 32 bits. */
    fun int(function: String, vararg arguments: Any): Int

    /** Calls a function that returns 64 bits. */
    fun long(function: String, vararg arguments: Any): Long

    /** Calls a function that returns nothing. */
    fun run(function: String, vararg arguments: Any)

    /** What C is given lives in a scope, until it is closed. */
    fun scope(): Scope

    /** Bytes that the library lends. */
    fun bytes(address: Long, size: Int): ByteArray

    /** Memory and functions for C. */
    interface Scope : AutoCloseable {
        /** Zeroed memory. */
        fun block(size: Int): Block

        /** The address of a LemmyProgressFn that calls [callback]. */
        fun progress(callback: (stage: Int, done: Long, total: Long) -> Int): Long

        /** Bytes, with a NUL behind. */
        fun bytes(bytes: ByteArray) = Lent(block(bytes.size + 1).apply { put(bytes) }.address, bytes.size.toLong())

        /** A text: UTF-8, with a NUL behind. */
        fun text(text: String) = bytes(text.toByteArray())
    }

    /** What lies at [address]; the NUL behind does not count. */
    class Lent(val address: Long, val size: Long)

    /** Memory for C. */
    interface Block {
        val address: Long
        fun int(offset: Int): Int
        fun long(offset: Int): Long
        fun put(offset: Int, value: Int)
        fun put(offset: Int, value: Float)
        fun put(offset: Int, value: Long)
        fun put(bytes: ByteArray)
    }

    companion object {
        /** The library: a path in the property `lemmy.library` or in LEMMY_LIBRARY, else an installed one. */
        fun library(): String? = System.getProperty("lemmy.library") ?: System.getenv("LEMMY_LIBRARY")
    }
}
