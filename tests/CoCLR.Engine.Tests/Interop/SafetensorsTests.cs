// Why this exists: tensors must come back as they went, and no damaged or hostile file may do more than say so.
using System.Buffers.Binary;
using System.Text;
using CoCLR.Core;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Tests.Video;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Interop;

public sealed class SafetensorsTests
{
    [Fact]
    public void Write_AllTypesAndShapes_ReadBackTheSame()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var tensors = Sample();
        var path = folder.File("a.safetensors");
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["note"] = "ünïcode \"quoted\"" });
        var (read, metadata) = Safetensors.Read(path);
        Assert.Equal("ünïcode \"quoted\"", metadata["note"]);
        Assert.Equal(tensors.Keys.Order(), read.Keys.Order());
        Assert.All(tensors, entry =>
        {
            Assert.Equal(entry.Value.dtype, read[entry.Key].dtype);
            Assert.True(Close.Same(read[entry.Key], entry.Value), entry.Key);
        });
    }

    [Fact]
    public void Write_SameTensorsInAnotherOrder_GivesTheSameBytes()
    {
        using var scope = NewDisposeScope();
        var tensors = Sample();
        using var a = new MemoryStream();
        using var b = new MemoryStream();
        Safetensors.Write(a, tensors);
        Safetensors.Write(b, tensors.Reverse().ToDictionary(e => e.Key, e => e.Value));
        Assert.Equal(a.ToArray(), b.ToArray());
    }

    [Fact]
    public void Read_AnyTruncation_SaysSo()
    {
        using var folder = new TemporaryFolder();
        var whole = Bytes();
        for (var length = 0; length < whole.Length; length += length < 64 ? 1 : 13)
        {
            File.WriteAllBytes(folder.File("cut"), whole[..length]);
            Assert.Equal(ExitCodes.BadData, Assert.Throws<UserErrorException>(() => Safetensors.Read(folder.File("cut"))).ExitCode);
        }

        File.WriteAllBytes(folder.File("long"), [.. whole, 0]);
        Assert.Throws<UserErrorException>(() => Safetensors.Read(folder.File("long")));
    }

    [Fact]
    public void Read_RandomDamageInTheHeader_ReadsOrSaysSo()
    {
        using var folder = new TemporaryFolder();
        var whole = Bytes();
        var header = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(whole);
        var random = new CounterRandom(1, CounterRandom.Purpose("fuzz"));
        for (var i = 0; i < 2000; i++)
        {
            var damaged = whole.ToArray();
            for (var n = random.NextInt(4); n >= 0; n--)
            {
                damaged[random.NextInt(header)] = (byte)random.NextInt(256);
            }

            File.WriteAllBytes(folder.File("fuzz"), damaged);
            try
            {
                var (tensors, _) = Safetensors.Read(folder.File("fuzz"));
                foreach (var tensor in tensors.Values)
                {
                    tensor.Dispose();
                }
            }
            catch (UserErrorException e)
            {
                Assert.Equal(ExitCodes.BadData, e.ExitCode);
            }
        }
    }

    [Theory]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4)]
    [InlineData("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8)]
    [
        InlineData(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
            6)]
    [
        InlineData(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
            8)]
    [InlineData("{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4)]
    [InlineData("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5)]
    [InlineData("[]", 0)]
    [InlineData("", 0)]
    public void Read_ImpossibleHeader_SaysSo(string header, int data)
    {
        using var folder = new TemporaryFolder();
        var text = Encoding.UTF8.GetBytes(header);
        var bytes = new byte[8 + text.Length + data];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)text.Length);
        text.CopyTo(bytes, 8);
        File.WriteAllBytes(folder.File("x"), bytes);
        var error = Assert.Throws<UserErrorException>(() => Safetensors.Read(folder.File("x")));
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains(folder.File("x"), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_HeaderLargerThanTheFile_IsRefusedBeforeAllocating()
    {
        using var folder = new TemporaryFolder();
        var bytes = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, ulong.MaxValue);
        File.WriteAllBytes(folder.File("x"), bytes);
        Assert.Throws<UserErrorException>(() => Safetensors.Read(folder.File("x")));
    }

    [Fact]
    public void Read_MissingFile_NamesIt()
        => Assert.Equal(
            ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => Safetensors.Read("/nowhere/x.safetensors")).ExitCode);

    private static byte[] Bytes()
    {
        using var scope = NewDisposeScope();
        using var stream = new MemoryStream();
        Safetensors.Write(stream, Sample());
        return stream.ToArray();
    }

    private static Dictionary<string, Tensor> Sample()
    {
        TorchRuntime.Initialize();
        using var generator = new Generator(3);
        var x = randn(3, 4, generator: generator);
        return new Dictionary<string, Tensor>
        {
            ["z.f32"] = x,
            ["a.transposed"] = x.t(),
            ["f64"] = x.to_type(ScalarType.Float64),
            ["f16"] = x.to_type(ScalarType.Float16),
            ["bf16"] = x.to_type(ScalarType.BFloat16),
            ["i64"] = arange(7),
            ["u8"] = arange(7).to_type(ScalarType.Byte),
            ["bool"] = x.gt(0),
            ["scalar"] = tensor(3.5f),
            ["nothing"] = zeros(0, 3),
        };
    }
}
