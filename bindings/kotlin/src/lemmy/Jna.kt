package lemmy

import com.sun.jna.CallbackReference
import com.sun.jna.Memory
import com.sun.jna.NativeLibrary
import com.sun.jna.Pointer

/** C through JNA: Java 8 and later, Android. */
class Jna(library: String? = Native.library()) : Native {
    private val library = NativeLibrary.getInstance(library ?: "lemmy")

    override fun int(function: String, vararg arguments: Any) =
        library.getFunction(function).invokeInt(arrayOf(*arguments))

    override fun long(function: String, vararg arguments: Any) =
        library.getFunction(function).invokeLong(arrayOf(*arguments))

    override fun run(function: String, vararg arguments: Any) =
        library.getFunction(function).invokeVoid(arrayOf(*arguments))

    override fun bytes(address: Long, size: Int): ByteArray = Pointer(address).getByteArray(0, size)

    override fun scope(): Native.Scope = JnaScope()
}

/** JNA gives memory and stubs back when nobody has their objects any more; a scope has them. */
private class JnaScope : Native.Scope {
    private val kept = mutableListOf<Any>()

    override fun block(size: Int): Native.Block {
        val memory = Memory(size.toLong().coerceAtLeast(1)).apply { clear() }
        kept += memory
        return JnaBlock(memory)
    }

    override fun progress(callback: (Int, Long, Long) -> Int): Long {
        val function = object : ProgressFn {
            override fun invoke(userData: Pointer?, stage: Int, done: Long, total: Long) = callback(stage, done, total)
        }
        kept += function
        return Pointer.nativeValue(CallbackReference.getFunctionPointer(function))
    }

    override fun close() = kept.clear()

    interface ProgressFn : com.sun.jna.Callback {
        fun invoke(userData: Pointer?, stage: Int, done: Long, total: Long): Int
    }
}

private class JnaBlock(private val memory: Memory) : Native.Block {
    override val address = Pointer.nativeValue(memory)
    override fun int(offset: Int) = memory.getInt(offset.toLong())
    override fun long(offset: Int) = memory.getLong(offset.toLong())
    override fun put(offset: Int, value: Int) = memory.setInt(offset.toLong(), value)
    override fun put(offset: Int, value: Float) = memory.setFloat(offset.toLong(), value)
    override fun put(offset: Int, value: Long) = memory.setLong(offset.toLong(), value)
    override fun put(bytes: ByteArray) = memory.write(0, bytes, 0, bytes.size)
}
