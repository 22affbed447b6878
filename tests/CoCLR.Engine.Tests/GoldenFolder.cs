// Why this exists: every test that needs golden numbers finds them, or says why it is skipped, the same way.
using System.Runtime.InteropServices;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests;

/// <summary>
/// Golden numbers: those of <c>COCLR_GOLDEN_DIR</c>, else of <c>../shared/golden</c> beside the checkout, else those below
/// <c>tests/golden</c>, which a clone always has (the large ones are not among them).
/// </summary>
internal static class GoldenFolder
{
    /// <summary>The file or folder of that name, or null.</summary>
    public static string? Find(string part) => Places().Select(place => Path.Combine(place, part)).FirstOrDefault(Path.Exists);

    /// <summary>A part of the folder; skips the test when it is missing.</summary>
    public static string Require(string part)
    {
        string? path = Find(part);
        if (path is null)
        {
            Assert.Skip(
                $"golden numbers '{part}' not found: set COCLR_GOLDEN_DIR, or put the folder at ../shared/golden beside the checkout");
        }

        return path!;
    }

    /// <summary>The names of the cases below a part.</summary>
    public static TheoryData<string> Cases(string part) =>
        Find(part) is { } folder ? new(Directory.GetDirectories(folder).Select(Path.GetFileName).Order()!) : new("missing");

    private static IEnumerable<string> Places()
    {
        if (Environment.GetEnvironmentVariable("COCLR_GOLDEN_DIR") is { Length: > 0 } set)
        {
            yield return set;
        }

        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "CoCLR.Platform.sln")))
            {
                yield return Path.Combine(folder.Parent?.FullName ?? "/", "shared", "golden");
                yield return Path.Combine(folder.FullName, "tests", "golden");
            }
        }
    }
}

/// <summary>One golden case: a folder with <c>case.json</c> and raw little-endian tensors.</summary>
internal sealed class GoldenCase
{
    private readonly string _folder;

    public GoldenCase(string folder)
    {
        _folder = folder;
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        Root = document.RootElement.Clone();
    }

    public JsonElement Root { get; }

    /// <summary>The tensors below a prefix, by the rest of their names.</summary>
    public IReadOnlyDictionary<string, Tensor> Under(string prefix) => Root.GetProperty("tensors").EnumerateObject()
        .Where(t => t.Name.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(t => t.Name[prefix.Length..], t => Tensor(t.Name));

    public bool Has(string name) => Root.GetProperty("tensors").TryGetProperty(name, out _);

    public Tensor Tensor(string name)
    {
        var entry = Root.GetProperty("tensors").GetProperty(name);
        var bytes = File.ReadAllBytes(Path.Combine(_folder, entry.GetProperty("file").GetString()!));
        if (entry.TryGetProperty("offset", out var offset))
        {
            bytes = bytes.AsSpan(offset.GetInt32(), entry.GetProperty("bytes").GetInt32()).ToArray();
        }

        long[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())];
        return FromBytes(bytes, entry.GetProperty("dtype").GetString()!, shape);
    }

    public static Tensor FromBytes(byte[] bytes, string dtype, long[] shape) => dtype switch
    {
        "float32" => torch.tensor(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), shape),
        "float64" => torch.tensor(MemoryMarshal.Cast<byte, double>(bytes).ToArray(), shape),
        "int64" => torch.tensor(MemoryMarshal.Cast<byte, long>(bytes).ToArray(), shape),
        "uint8" => torch.tensor(bytes, shape),
        _ => throw new NotSupportedException(dtype),
    };
}

internal static class Close
{
    /// <summary>Largest |a - b| relative to the largest |b| (at least 1e-12).</summary>
    public static double RelativeError(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.shape, actual.shape);
        var a = actual.detach().to_type(ScalarType.Float64);
        var b = expected.detach().to_type(ScalarType.Float64);
        return (a - b).abs().max().item<double>() / Math.Max(b.abs().max().item<double>(), 1e-12);
    }

    /// <summary>|a - b| / |b| in the Euclidean norm.</summary>
    public static double NormError(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.shape, actual.shape);
        var b = expected.detach().to_type(ScalarType.Float64);
        return (actual.detach().to_type(ScalarType.Float64) - b).norm().item<double>() / b.norm().item<double>();
    }

    /// <summary>Equal shapes and every element equal.</summary>
    public static bool Same(Tensor actual, Tensor expected) =>
        actual.shape.SequenceEqual(expected.shape) && actual.eq(expected).all().item<bool>();

    public static double AbsoluteError(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.shape, actual.shape);
        return (actual.detach().to_type(ScalarType.Float64) - expected.detach().to_type(ScalarType.Float64)).abs().max().item<double>();
    }
}
