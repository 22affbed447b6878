// Why this exists: the reference implementation's files name the same tensors differently, and some of them twice.
using CoCLR.Core;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop;

/// <summary>
/// Names of the reference implementation (TengdaHan/CoCLR) and ours. An encoder there is a sequence of backbone (0), pooling (1) and
/// two convolutions (2, 4), so <c>encoder_q.0.Conv_1a.conv1.weight</c> is our <c>backbone.Conv_1a.conv1.weight</c>; each layer of S3D
/// is registered a second time under its block (<c>block1.0.*</c>). [method.md 1a]
/// </summary>
public static class ReferenceLayout
{
    /// <summary>Layers of S3D and their second names.</summary>
    private static readonly (string Layer, string Block)[] s_blocks =
    [
        ("Conv_1a", "block1.0"), ("Conv_2b", "block2.1"), ("Conv_2c", "block2.2"), ("Mixed_3b", "block3.1"), ("Mixed_3c", "block3.2"),
        ("Mixed_4b", "block4.1"), ("Mixed_4c", "block4.2"), ("Mixed_4d", "block4.3"), ("Mixed_4e", "block4.4"), ("Mixed_4f", "block4.5"),
        ("Mixed_5b", "block5.1"), ("Mixed_5c", "block5.2"),
    ];

    /// <summary>Prefixes below which files keep the encoder or backbone to import, the most specific first.</summary>
    private static readonly string[] s_prefixes = ["module.encoder_q.", "encoder_q.", "module.backbone.", "backbone.", "module.", ""];

    /// <summary>Our encoder's state to the reference's names, with the second names of S3D's layers.</summary>
    /// <param name="encoder">State with names <c>backbone.*</c> and <c>head.*</c>.</param>
    /// <param name="prefix"><c>encoder_q.</c>, <c>encoder_k.</c> or <c>sampler.</c>.</param>
    public static IReadOnlyList<KeyValuePair<string, Tensor>> FromEncoder(
        IReadOnlyDictionary<string, Tensor> encoder, string prefix = "encoder_q.")
    {
        ArgumentNullException.ThrowIfNull(encoder);
        var result = new List<KeyValuePair<string, Tensor>>();
        foreach (var (name, tensor) in encoder)
        {
            if (name.StartsWith("backbone.", StringComparison.Ordinal))
            {
                result.AddRange(BothNames(name["backbone.".Length..]).Select(both => KeyValuePair.Create($"{prefix}0.{both}", tensor)));
            }
            else if (name.StartsWith("head.", StringComparison.Ordinal))
            {
                var (layer, rest) = Split(name["head.".Length..]);
                result.Add(
                    KeyValuePair.Create(
                        $"{prefix}{int.Parse(layer, System.Globalization.CultureInfo.InvariantCulture) + 2}.{rest}", tensor));
            }
        }

        return result;
    }

    /// <summary>Our backbone's state with the second names of S3D's layers: what the reference's own S3D class takes.</summary>
    /// <param name="backbone">State without prefix.</param>
    public static IReadOnlyList<KeyValuePair<string, Tensor>> FromBackbone(IReadOnlyDictionary<string, Tensor> backbone)
    {
        ArgumentNullException.ThrowIfNull(backbone);
        return [.. backbone.SelectMany(entry => BothNames(entry.Key).Select(name => KeyValuePair.Create(name, entry.Value)))];
    }

    /// <summary>
    /// Finds an encoder or a backbone in a file's tensors: the reference's published layout, a bare backbone (also with layers only
    /// under their block names), a classifier's backbone, or our own names. The query encoder is taken; key encoder, sampler and
    /// queues are left out.
    /// </summary>
    /// <param name="tensors">Tensors by the file's names.</param>
    /// <param name="source">The file, for the message.</param>
    /// <returns>Names <c>backbone.*</c>, and <c>head.*</c> where the file has one. The tensors are not copied.</returns>
    /// <exception cref="UserErrorException">No known layout fits (65).</exception>
    public static IReadOnlyDictionary<string, Tensor> ToEncoder(IReadOnlyDictionary<string, Tensor> tensors, string source)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        foreach (var prefix in s_prefixes)
        {
            foreach (var inner in new[] { prefix + "backbone.", prefix + "0.", prefix })
            {
                var backbone = new Dictionary<string, Tensor>();
                foreach (var (name, tensor) in tensors.Where(entry => entry.Key.StartsWith(inner, StringComparison.Ordinal)))
                {
                    if (OurName(name[inner.Length..]) is { } ours)
                    {
                        backbone.TryAdd("backbone." + ours, tensor);
                    }
                }

                if (backbone.Count == 0)
                {
                    continue;
                }

                foreach (var (theirs, ours) in new[] { ("2.", "head.0."), ("4.", "head.2."), ("head.0.", "head.0."), ("head.2.", "head.2.") })
                {
                    foreach (var rest in new[] { "weight", "bias" })
                    {
                        if (tensors.TryGetValue(prefix + theirs + rest, out var tensor))
                        {
                            backbone.TryAdd(ours + rest, tensor);
                        }
                    }
                }

                return backbone;
            }
        }

        throw new UserErrorException($"{source} holds no network that this program knows: expected names such as "
            + $"encoder_q.0.Conv_1a.conv1.weight, Conv_1a.conv1.weight or stem.0.weight.", ExitCodes.BadData);
    }

    /// <summary>Our name of a backbone tensor, or null when it is none.</summary>
    private static string? OurName(string name)
    {
        var (layer, _) = Split(name);
        if (s_blocks.Any(b => b.Layer == layer) || layer is "stem" or "layer1" or "layer2" or "layer3" or "layer4")
        {
            return name;
        }

        var (own, block) = Array.Find(s_blocks, b => name.StartsWith(b.Block + ".", StringComparison.Ordinal));
        return own is null ? null : own + name[block.Length..];
    }

    private static IEnumerable<string> BothNames(string name)
    {
        yield return name;
        var (layer, rest) = Split(name);
        var block = Array.Find(s_blocks, b => b.Layer == layer).Block;
        if (block is not null)
        {
            yield return $"{block}.{rest}";
        }
    }

    private static (string Layer, string Below) Split(string name)
    {
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        return dot < 0 ? (name, string.Empty) : (name[..dot], name[(dot + 1)..]);
    }
}
