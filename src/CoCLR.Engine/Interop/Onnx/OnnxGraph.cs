// Why this exists: an ONNX file is a protocol buffer of a graph; a network of a few operators needs no library to write one.
using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace CoCLR.Engine.Interop.Onnx;

/// <summary>Collects nodes and weights of a graph and writes them as an ONNX model (IR version 8, operators of version 17).</summary>
/// <remarks>Field numbers: onnx.proto3 of https://github.com/onnx/onnx.</remarks>
internal sealed class OnnxGraph
{
    private const int Float = 1;
    private readonly List<byte[]> _nodes = [];
    private readonly List<(string Name, long[] Shape, float[] Values)> _weights = [];
    private readonly List<byte[]> _inputs = [];
    private readonly List<byte[]> _outputs = [];
    private int _names;

    /// <summary>Declares an input.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="dimensions">Numbers, or names of dimensions that may vary.</param>
    public string Input(string name, params object[] dimensions)
    {
        _inputs.Add(Value(name, dimensions));
        return name;
    }

    /// <summary>Declares an output under a name of its own.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="value">What it shows.</param>
    /// <param name="dimensions">As for <see cref="Input"/>.</param>
    public void Output(string name, string value, params object[] dimensions)
    {
        _nodes.Add(Node("Identity", [value], name, []));
        _outputs.Add(Value(name, dimensions));
    }

    /// <summary>Adds a constant.</summary>
    /// <param name="values">Its elements in C order.</param>
    /// <param name="shape">Its shape.</param>
    public string Constant(float[] values, params long[] shape)
    {
        string name = NewName("w");
        _weights.Add((name, shape, values));
        return name;
    }

    /// <summary>Adds an operation with one result.</summary>
    /// <param name="operation">Operator, such as Conv.</param>
    /// <param name="inputs">Names of values.</param>
    /// <param name="attributes">Integers, floats and lists of integers by name.</param>
    /// <returns>Name of the result.</returns>
    public string Add(string operation, string[] inputs, params (string Name, object Value)[] attributes)
    {
        string name = NewName(operation);
        _nodes.Add(Node(operation, inputs, name, attributes));
        return name;
    }

    /// <summary>Writes the model.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="name">Name of the graph.</param>
    /// <param name="metadata">Free text by key.</param>
    public void Write(Stream stream, string name, IReadOnlyDictionary<string, string> metadata)
    {
        var graph = new Message();
        _nodes.ForEach(node => graph.Bytes(1, node));
        graph.Text(2, name);
        foreach ((string weight, long[] shape, float[] values) in _weights)
        {
            graph.Bytes(5, Tensor(weight, shape, values));
        }

        _inputs.ForEach(input => graph.Bytes(11, input));
        _outputs.ForEach(output => graph.Bytes(12, output));
        var model = new Message().Integer(1, 8).Text(2, "coclr");
        model.Bytes(7, graph.ToArray());
        model.Bytes(8, new Message().Text(1, "").Integer(2, 17).ToArray());
        foreach ((string key, string value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            model.Bytes(14, new Message().Text(1, key).Text(2, value).ToArray());
        }

        stream.Write(model.ToArray());
    }

    private string NewName(string kind) => $"{kind.ToLowerInvariant()}_{_names++}";

    private static byte[] Node(string operation, string[] inputs, string output, (string Name, object Value)[] attributes)
    {
        var node = new Message();
        Array.ForEach(inputs, input => node.Text(1, input));
        node.Text(2, output).Text(3, output).Text(4, operation);
        foreach ((string name, object value) in attributes)
        {
            var attribute = new Message().Text(1, name);
            _ = value switch
            {
                float number => attribute.Single(2, number).Integer(20, 1),
                long number => attribute.Integer(3, number).Integer(20, 2),
                long[] numbers => numbers.Aggregate(attribute, (message, number) => message.Integer(8, number)).Integer(20, 7),
                _ => throw new NotSupportedException($"An attribute of type {value.GetType()}."),
            };
            node.Bytes(5, attribute.ToArray());
        }

        return node.ToArray();
    }

    private static byte[] Tensor(string name, long[] shape, float[] values)
    {
        var tensor = new Message();
        Array.ForEach(shape, size => tensor.Integer(1, size));
        return tensor.Integer(2, Float).Text(8, name).Bytes(9, MemoryMarshal.AsBytes<float>(values)).ToArray();
    }

    private static byte[] Value(string name, object[] dimensions)
    {
        var shape = new Message();
        foreach (object dimension in dimensions)
        {
            shape.Bytes(
                1,
                (
                    dimension is string text ? new Message().Text(2, text) : new Message()
                        .Integer(1, Convert.ToInt64(dimension, System.Globalization.CultureInfo.InvariantCulture)))
                    .ToArray());
        }

        byte[] tensor = new Message().Integer(1, Float).Bytes(2, shape.ToArray()).ToArray();
        return new Message().Text(1, name).Bytes(2, new Message().Bytes(1, tensor).ToArray()).ToArray();
    }

    /// <summary>A protocol buffer under construction.</summary>
    private sealed class Message
    {
        private readonly ArrayBufferWriter<byte> _bytes = new();

        public Message Integer(int field, long value)
        {
            Varint((ulong)field << 3);
            Varint((ulong)value);
            return this;
        }

        public Message Single(int field, float value)
        {
            Varint(((ulong)field << 3) | 5);
            BinaryPrimitives.WriteSingleLittleEndian(_bytes.GetSpan(4), value);
            _bytes.Advance(4);
            return this;
        }

        public Message Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

        public Message Bytes(int field, ReadOnlySpan<byte> value)
        {
            Varint(((ulong)field << 3) | 2);
            Varint((ulong)value.Length);
            _bytes.Write(value);
            return this;
        }

        public byte[] ToArray() => _bytes.WrittenSpan.ToArray();

        private void Varint(ulong value)
        {
            for (; value >= 0x80; value >>= 7)
            {
                _bytes.Write([(byte)(value | 0x80)]);
            }

            _bytes.Write([(byte)value]);
        }
    }
}
