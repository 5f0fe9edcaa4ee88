package lemmy

import java.lang.foreign.Arena
import java.lang.foreign.FunctionDescriptor
import java.lang.foreign.Linker
import java.lang.foreign.MemoryLayout
import java.lang.foreign.MemorySegment
import java.lang.foreign.SymbolLookup
import java.lang.foreign.ValueLayout
import java.lang.invoke.MethodHandle
import java.lang.invoke.MethodHandles
import java.lang.invoke.MethodType
import java.nio.file.Path
import java.util.concurrent.ConcurrentHashMap

/** C through the foreign function interface of Java 22 and later; run with `--enable-native-access=ALL-UNNAMED`. */
class Ffm(library: String? = Native.library()) : Native {
    private val linker = Linker.nativeLinker()
    private val symbols = when (library) {
        null -> SymbolLookup.libraryLookup(System.mapLibraryName("lemmy"), Arena.global())
        else -> SymbolLookup.libraryLookup(Path.of(library), Arena.global())
    }
    private val handles = ConcurrentHashMap<String, MethodHandle>()

    override fun int(function: String, vararg arguments: Any) =
        handle(function, ValueLayout.JAVA_INT, arguments).invokeWithArguments(*arguments) as Int

    override fun long(function: String, vararg arguments: Any) =
        handle(function, ValueLayout.JAVA_LONG, arguments).invokeWithArguments(*arguments) as Long

    override fun run(function: String, vararg arguments: Any) {
        handle(function, null, arguments).invokeWithArguments(*arguments)
    }

    override fun bytes(address: Long, size: Int): ByteArray =
        MemorySegment.ofAddress(address).reinterpret(size.toLong()).toArray(ValueLayout.JAVA_BYTE)

    override fun scope(): Native.Scope = FfmScope(linker)

    private fun handle(function: String, result: MemoryLayout?, arguments: Array<out Any>) =
        handles.computeIfAbsent(function) {
            val symbol = symbols.find(function).orElseThrow { UnsatisfiedLinkError(function) }
            val layouts = Array<MemoryLayout>(arguments.size) {
                if (arguments[it] is Int) ValueLayout.JAVA_INT else ValueLayout.JAVA_LONG
            }
            val descriptor =
                if (result == null) FunctionDescriptor.ofVoid(*layouts) else FunctionDescriptor.of(result, *layouts)
            linker.downcallHandle(symbol, descriptor)
        }
}

private class FfmScope(private val linker: Linker) : Native.Scope {
    private val arena = Arena.ofShared()

    override fun block(size: Int): Native.Block = FfmBlock(arena.allocate(size.toLong().coerceAtLeast(1), 8))

    override fun progress(callback: (Int, Long, Long) -> Int): Long {
        val int = Int::class.javaPrimitiveType
        val long = Long::class.javaPrimitiveType
        val type = MethodType.methodType(int, long, int, long, long)
        val target = MethodHandles.lookup().findVirtual(Progress::class.java, "call", type).bindTo(Progress(callback))
        val (jint, jlong) = ValueLayout.JAVA_INT to ValueLayout.JAVA_LONG
        return linker.upcallStub(target, FunctionDescriptor.of(jint, jlong, jint, jlong, jlong), arena).address()
    }

    override fun close() = arena.close()

    private class Progress(private val callback: (Int, Long, Long) -> Int) {
        @Suppress("UNUSED_PARAMETER") // C passes it
        fun call(userData: Long, stage: Int, done: Long, total: Long): Int = callback(stage, done, total)
    }
}

private class FfmBlock(private val memory: MemorySegment) : Native.Block {
    override val address = memory.address()
    override fun int(offset: Int) = memory.get(ValueLayout.JAVA_INT, offset.toLong())
    override fun long(offset: Int) = memory.get(ValueLayout.JAVA_LONG, offset.toLong())
    override fun put(offset: Int, value: Int) = memory.set(ValueLayout.JAVA_INT, offset.toLong(), value)
    override fun put(offset: Int, value: Float) = memory.set(ValueLayout.JAVA_FLOAT, offset.toLong(), value)
    override fun put(offset: Int, value: Long) = memory.set(ValueLayout.JAVA_LONG, offset.toLong(), value)
    override fun put(bytes: ByteArray) {
        MemorySegment.copy(bytes, 0, memory, ValueLayout.JAVA_BYTE, 0, bytes.size)
    }
}
