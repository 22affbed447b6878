// Why this exists: PyTorch files are pickles, and a pickle is a program; this one can only build containers, numbers and tensor
// descriptions.
using System.Buffers.Binary;
using System.Collections;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace CoCLR.Engine.Interop;

/// <summary>The file is not a pickle that this reader understands, or asks for something it refuses.</summary>
internal sealed class PickleException : Exception
{
    public PickleException(string message)
        : base(message)
    {
    }
}

/// <summary>A name such as <c>torch.FloatStorage</c>; nothing is ever called by it.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>A tuple.</summary>
internal sealed class PickleTuple(object?[] items)
{
    public object?[] Items { get; } = items;
}

/// <summary>Where a tensor's elements are and how they lie.</summary>
/// <param name="Storage">The storage.</param>
/// <param name="Offset">First element.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Stride">Elements between neighbours of each dimension.</param>
internal sealed record PickledTensor(PickledStorage Storage, long Offset, long[] Shape, long[] Stride);

/// <summary>A block of elements in the file.</summary>
/// <param name="Type">Element type, such as <c>FloatStorage</c>.</param>
/// <param name="Key">Its name in the file.</param>
/// <param name="Count">Elements.</param>
internal sealed record PickledStorage(string Type, string Key, long Count);

/// <summary>A value that is skipped, such as a NumPy number.</summary>
internal sealed class PickleOpaque;

/// <summary>
/// A pickle machine for protocols 0 to 5 as PyTorch writes them. It knows a fixed list of names and never imports or calls any;
/// every other name, and every instruction that would make an object of a class, is refused.
/// </summary>
/// <remarks>Instruction set: CPython's pickletools.</remarks>
internal sealed class PickleReader
{
    private const int MaxDepth = 1000;
    private const int MaxValues = 10_000_000;
    private static readonly object s_mark = new();

    /// <summary>Names whose values have no bearing on tensors; a call gives an opaque value.</summary>
    private static readonly HashSet<string> s_inert =
    [
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode", "torch.device",
        "argparse.Namespace", "copyreg._reconstructor", "__builtin__.object", "builtins.object",
    ];

    private readonly Stream _stream;
    private readonly List<object?> _stack = [];
    private readonly Dictionary<int, object?> _memo = [];
    private readonly byte[] _buffer = new byte[8];
    private int _values;

    private PickleReader(Stream stream) => _stream = stream;

    /// <summary>Reads one pickle; the stream is left behind its end.</summary>
    /// <exception cref="PickleException">Damaged (also a None where a value is needed), or refused.</exception>
    public static object? Read(Stream stream)
    {
        try
        {
            return new PickleReader(stream).Run();
        }
        catch (Exception e) when (
            e is ArgumentException or NullReferenceException or InvalidCastException or OverflowException or FormatException or IndexOutOfRangeException or KeyNotFoundException or EndOfStreamException)
        {
            throw new PickleException($"the pickle is damaged ({e.Message})");
        }
    }

    private object? Run()
    {
        while (true)
        {
            if (++_values > MaxValues)
            {
                throw new PickleException("the pickle has too many values");
            }

            var code = Byte();
            switch (code)
            {
                case 0x80: Byte(); break; // PROTO
                case 0x95: Bytes(8); break; // FRAME
                case (byte)'.': return Pop();
                case (byte)'(': Push(s_mark); break;
                case (byte)'0': Pop(); break;
                case (byte)'1': PopToMark(); break;
                case (byte)'2': Push(_stack[^1]); break;
                case (byte)'N': Push(null); break;
                case 0x88: Push(true); break;
                case 0x89: Push(false); break;
                case (byte)'J': Push((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))); break;
                case (byte)'K': Push((long)Byte()); break;
                case (byte)'M': Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))); break;
                case 0x8a: PushLong(Byte()); break;
                case 0x8b: PushLong(Length(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)))); break;
                case (byte)'G': Push(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8))); break;
                case (byte)'I': Push(Line() switch { "01" => true, "00" => false, var text => (object)long.Parse(text, CultureInfo.InvariantCulture) }); break;
                case (byte)'L': Push(long.Parse(Line().TrimEnd('L'), CultureInfo.InvariantCulture)); break;
                case (byte)'F': Push(double.Parse(Line(), CultureInfo.InvariantCulture)); break;
                case (byte)'X': Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)))); break;
                case 0x8c: Push(Text(Byte())); break;
                case 0x8d: Push(Text(BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8)))); break;
                case (byte)'V': Push(Line()); break;
                case (byte)'T': case (byte)'B': Push(Latin(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)))); break;
                case (byte)'U': case (byte)'C': Push(Latin(Byte())); break;
                case (byte)'}': Push(new Dictionary<object, object?>()); break;
                case (byte)']': Push(new List<object?>()); break;
                case (byte)')': Push(new PickleTuple([])); break;
                case 0x8f: Push(new List<object?>()); break; // EMPTY_SET
                case (byte)'d': Push(ToDictionary(PopToMark())); break;
                case (byte)'l': Push(PopToMark().ToList()); break;
                case (byte)'t': Push(new PickleTuple(PopToMark())); break;
                case 0x85: Push(new PickleTuple(PopMany(1))); break;
                case 0x86: Push(new PickleTuple(PopMany(2))); break;
                case 0x87: Push(new PickleTuple(PopMany(3))); break;
                case (byte)'a': { var item = Pop(); Peek<List<object?>>().Add(item); break; }
                case (byte)'e': case 0x90: { var items = PopToMark(); Peek<List<object?>>().AddRange(items); break; }
                case (byte)'s': { var pair = PopMany(2); Set(pair[0], pair[1]); break; }
                case (byte)'u': SetMany(PopToMark()); break;
                case (byte)'p': _memo[int.Parse(Line(), CultureInfo.InvariantCulture)] = _stack[^1]; break;
                case (byte)'q': _memo[Byte()] = _stack[^1]; break;
                case (byte)'r': _memo[BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))] = _stack[^1]; break;
                case 0x94: _memo[_memo.Count] = _stack[^1]; break;
                case (byte)'g': Push(_memo[int.Parse(Line(), CultureInfo.InvariantCulture)]); break;
                case (byte)'h': Push(_memo[Byte()]); break;
                case (byte)'j': Push(_memo[BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))]); break;
                case (byte)'c': Push(Known(new PickleGlobal(Line(), Line()))); break;
                case 0x93: { var pair = PopMany(2); Push(Known(new PickleGlobal(NameOf(pair[0]), NameOf(pair[1])))); break; }
                case (byte)'Q': Push(Persistent(Pop())); break;
                case (byte)'R': case 0x81: { var arguments = (PickleTuple)Pop()!; Push(Call((PickleGlobal)Pop()!, arguments.Items)); break; }
                case (byte)'b': Pop(); break; // BUILD: attributes such as OrderedDict._metadata are of no use here
                default: throw new PickleException($"the pickle has instruction 0x{code:x2}, which is refused");
            }
        }
    }

    /// <summary>Only names on the list may even be mentioned.</summary>
    private static PickleGlobal Known(PickleGlobal name)
    {
        var full = name.ToString();
        var known = full is "collections.OrderedDict" or "torch._utils._rebuild_tensor" or "torch._utils._rebuild_tensor_v2" or "torch._utils._rebuild_parameter" or "torch.Size"
            || (name.Module is "torch" or "torch.storage" or "torch.cuda" && name.Name.EndsWith("Storage", StringComparison.Ordinal))
            || (name.Module == "torch" && name.Name is "float32" or "float64" or "float16" or "bfloat16" or "int64" or "int32" or "int16" or "int8" or "uint8" or "bool")
            || s_inert.Contains(full);
        return known
            ? name
            : throw new PickleException($"the pickle names {full}, which is refused: it holds more than tensors, containers and numbers");
    }

    private static object? Call(PickleGlobal function, object?[] arguments) => function.ToString() switch
    {
        "collections.OrderedDict" =>
            arguments.Length == 0 ? new Dictionary<object, object?>() : ToDictionary(
                [
                    .. ((IEnumerable)arguments[0]!).Cast<object?>()
                        .SelectMany(pair => pair is PickleTuple t ? t.Items : ((List<object?>)pair!).ToArray())]),
        "torch._utils._rebuild_tensor" or "torch._utils._rebuild_tensor_v2" => Rebuild(arguments),
        "torch._utils._rebuild_parameter" => arguments[0] as PickledTensor ?? throw new PickleException("a parameter is not a tensor"),
        "torch.Size" => arguments[0],
        var name when s_inert.Contains(name) => new PickleOpaque(),
        var name => throw new PickleException($"the pickle calls {name}, which is refused"),
    };

    private static PickledTensor Rebuild(object?[] arguments)
        => new((PickledStorage)arguments[0]!, (long)arguments[1]!, Integers(arguments[2]), Integers(arguments[3]));

    private static long[] Integers(object? value) =>
        [.. (value is PickleTuple tuple ? tuple.Items : [.. (List<object?>)value!]).Select(x => (long)x!)];

    /// <summary>('storage', type, key, location, count[, view]) names a block of elements.</summary>
    private static PickledStorage Persistent(object? id)
    {
        if (id is not PickleTuple { Items: [("storage"), PickleGlobal type, string key, _, long count, ..] })
        {
            throw new PickleException("the pickle has a reference that is not a storage");
        }

        return new PickledStorage(type.Name, key, count);
    }

    private static Dictionary<object, object?> ToDictionary(object?[] items)
    {
        var result = new Dictionary<object, object?>();
        for (var i = 0; i + 1 < items.Length; i += 2)
        {
            result[Key(items[i])] = items[i + 1];
        }

        return result;
    }

    private static string NameOf(object? value) => value as string ?? throw new PickleException("the name of a type is no text");

    private static object Key(object? key) =>
        key is string or long or bool or double ? key : throw new PickleException("a dictionary has a key that is neither text nor number");

    private void Set(object? key, object? value)
    {
        if (_stack[^1] is PickleOpaque)
        {
            return;
        }

        Peek<Dictionary<object, object?>>()[Key(key)] = value;
    }

    private void SetMany(object?[] items)
    {
        for (var i = 0; i + 1 < items.Length; i += 2)
        {
            Set(items[i], items[i + 1]);
        }
    }

    private void Push(object? value)
    {
        if (_stack.Count > MaxDepth * 1000)
        {
            throw new PickleException("the pickle is nested too deeply");
        }

        _stack.Add(value);
    }

    private object? Pop()
    {
        var value = _stack[^1];
        if (ReferenceEquals(value, s_mark))
        {
            throw new PickleException("the pickle's marks do not fit");
        }

        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    private T Peek<T>() => (T)_stack[^1]!;

    private object?[] PopMany(int count)
    {
        var values = new object?[count];
        for (var i = count - 1; i >= 0; i--)
        {
            values[i] = Pop();
        }

        return values;
    }

    private object?[] PopToMark()
    {
        var mark = _stack.LastIndexOf(s_mark);
        if (mark < 0)
        {
            throw new PickleException("the pickle's marks do not fit");
        }

        object?[] values = [.. _stack.Skip(mark + 1)];
        _stack.RemoveRange(mark, _stack.Count - mark);
        return values;
    }

    private byte Byte()
    {
        var value = _stream.ReadByte();
        return value >= 0 ? (byte)value : throw new EndOfStreamException("it ends too early");
    }

    private ReadOnlySpan<byte> Bytes(int count)
    {
        _stream.ReadExactly(_buffer, 0, count);
        return _buffer.AsSpan(0, count);
    }

    private void PushLong(int length)
    {
        if (length > 64)
        {
            throw new PickleException("an integer is impossibly long");
        }

        var bytes = new byte[length];
        _stream.ReadExactly(bytes);
        var value = new BigInteger(bytes);
        // Larger ones are only PyTorch's magic number.
        if (value >= long.MinValue && value <= long.MaxValue)
        {
            Push((long)value);
        }
        else
        {
            Push(value);
        }
    }

    private static int Length(ulong length) => length <= 1 << 24 ? (int)length : throw new PickleException("a text is impossibly long");

    private string Text(ulong length) => Encoding.UTF8.GetString(Raw(length));

    private string Latin(ulong length) => Encoding.Latin1.GetString(Raw(length));

    private byte[] Raw(ulong length)
    {
        var bytes = new byte[Length(length)];
        _stream.ReadExactly(bytes);
        return bytes;
    }

    private string Line()
    {
        var text = new StringBuilder();
        for (var letter = Byte(); letter != (byte)'\n'; letter = Byte())
        {
            if (text.Length > 1 << 16)
            {
                throw new PickleException("a line is impossibly long");
            }

            text.Append((char)letter);
        }

        return text.ToString();
    }
}
