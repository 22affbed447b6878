// Why this exists: a checkpoint of another architecture must be told apart from a damaged one, and say what differs.
using CoCLR.Core;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop;

/// <summary>Copies named tensors into modules, all or nothing.</summary>
public static class ModuleState
{
    /// <summary>Parameters and buffers of a module by name; the module's own tensors, not copies.</summary>
    /// <param name="module">The module.</param>
    /// <param name="prefix">Put before each name.</param>
    public static IReadOnlyDictionary<string, Tensor> Of(nn.Module module, string prefix = "")
    {
        ArgumentNullException.ThrowIfNull(module);
        return module.state_dict().ToDictionary(entry => prefix + entry.Key, entry => entry.Value);
    }

    /// <summary>Copies tensors into a module; names and shapes must be the same on both sides.</summary>
    /// <param name="module">The module.</param>
    /// <param name="tensors">Tensors by the module's names.</param>
    /// <param name="source">Where they come from, for the message.</param>
    /// <exception cref="UserErrorException">Names or shapes differ; nothing was copied (78).</exception>
    public static void Load(nn.Module module, IReadOnlyDictionary<string, Tensor> tensors, string source)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        var state = Of(module);
        var missing = state.Keys.Where(name => !tensors.ContainsKey(name)).ToArray();
        var extra = tensors.Keys.Where(name => !state.ContainsKey(name)).ToArray();
        var reshaped = state.Where(entry => tensors.TryGetValue(entry.Key, out var t) && !t.shape.SequenceEqual(entry.Value.shape))
            .Select(entry => entry.Key).ToArray();
        if (missing.Length + extra.Length + reshaped.Length > 0)
        {
            throw new UserErrorException(
                $"{source} does not fit this network: "
                    + $"{Say("missing", missing)}{Say("unexpected", extra)}{Say("of another shape", reshaped)}choose the architecture it "
                        + $"was trained with (model.backbone, model.width, model.projectionSize).",
                ExitCodes.BadConfiguration);
        }

        using var frozen = no_grad();
        foreach (var (name, target) in state)
        {
            target.copy_(tensors[name]);
        }

        static string Say(string what, string[] names) =>
            names.Length == 0 ? string.Empty : $"{names.Length} {what} (such as '{names[0]}'); ";
    }
}
