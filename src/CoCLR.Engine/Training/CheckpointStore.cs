// Why this exists: training must survive a kill at any byte and go on exactly where it stood.
using System.Globalization;
using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using CoCLR.Core;
using CoCLR.Engine.Interop;
using CoCLR.Runs;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>What a checkpoint says about itself, in <c>checkpoint.json</c> and inside the data file.</summary>
public sealed record CheckpointInfo
{
    /// <summary>Version of this record.</summary>
    public int Format { get; init; } = 1;

    /// <summary>Name of the network, one of <see cref="Models.BackboneFactory.Names"/>.</summary>
    public string Architecture { get; init; } = string.Empty;

    /// <summary>Factor on the channel counts of S3DMini.</summary>
    public double Width { get; init; } = 1;

    /// <summary>Length of the embedding; 0 without a projection head.</summary>
    public int ProjectionSize { get; init; }

    /// <summary>The stage that wrote it.</summary>
    public string Stage { get; init; } = string.Empty;

    /// <summary>Epochs finished.</summary>
    public int Epoch { get; init; }

    /// <summary>Optimizer steps taken.</summary>
    public long Step { get; init; }

    /// <summary>The number by which the best checkpoint is chosen (higher is better), if any.</summary>
    public double? Score { get; init; }

    /// <summary>Numbers that resuming needs exactly, such as the optimizer's step count and running sums.</summary>
    public IReadOnlyDictionary<string, double> Scalars { get; init; } = new Dictionary<string, double>();

    /// <summary>Texts that resuming or a reader needs, such as the manifest's hash, the view and the class names.</summary>
    public IReadOnlyDictionary<string, string> Texts { get; init; } = new Dictionary<string, string>();

    /// <summary>The data file beside <c>checkpoint.json</c> that belongs to it.</summary>
    public string File { get; init; } = string.Empty;

    /// <summary>XxHash128 of the tensors' bytes in the data file's order, in hexadecimal.</summary>
    public string DataHash { get; init; } = string.Empty;

    /// <summary>SHA-256 of the whole data file, in hexadecimal; only in <c>checkpoint.json</c>.</summary>
    public string? Sha256 { get; init; }

    /// <summary>What an exported encoder says of its origin: the network and what it looks at, without the state of a training.</summary>
    public string OriginJson() => JsonSerializer.Serialize(
        this with { Scalars = new Dictionary<string, double>(), File = string.Empty, DataHash = string.Empty, Sha256 = null },
        CheckpointStore.Json);

    /// <summary>Reads <see cref="OriginJson"/>; null where it is none.</summary>
    /// <param name="json">A text of a file from anywhere.</param>
    public static CheckpointInfo? FromOrigin(string? json)
    {
        try
        {
            return json == null ? null : JsonSerializer.Deserialize<CheckpointInfo>(json, CheckpointStore.Json);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>A checkpoint in memory.</summary>
/// <param name="Info">What it says about itself.</param>
/// <param name="Tensors">Tensors by name, on the processor.</param>
public sealed record Checkpoint(CheckpointInfo Info, IReadOnlyDictionary<string, Tensor> Tensors) : IDisposable
{
    /// <summary>The tensors below a prefix, without it.</summary>
    /// <param name="prefix">For example <c>encoder_q.</c>.</param>
    public IReadOnlyDictionary<string, Tensor> Under(string prefix)
        => Tensors.Where(entry => entry.Key.StartsWith(prefix, StringComparison.Ordinal))
            .ToDictionary(entry => entry.Key[prefix.Length..], entry => entry.Value);

    /// <summary>Copies the tensors below a prefix into a module; both must hold the same names and shapes.</summary>
    /// <param name="module">The module.</param>
    /// <param name="prefix">For example <c>encoder_q.</c>.</param>
    /// <param name="where">The file, for the message.</param>
    /// <exception cref="UserErrorException">Names or shapes differ: a checkpoint of another architecture (78).</exception>
    public void CopyTo(nn.Module module, string prefix, string where)
        => ModuleState.Load(module, Under(prefix), $"{where} ({Info.Architecture})");

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in Tensors.Values)
        {
            tensor.Dispose();
        }
    }
}

/// <summary>
/// The checkpoints of one stage's folder. A checkpoint is one data file, <c>checkpoint-STEP.safetensors</c>, which holds its own
/// description and checksum; <c>checkpoint.safetensors</c> is a second name of the newest, <c>checkpoint.json</c> its description
/// for people and tools. Each appears by a rename, the description last, and older data files go only after that: at any moment
/// <c>checkpoint.json</c> names a whole data file.
/// </summary>
public sealed class CheckpointStore
{
    /// <summary>Second name of the newest data file.</summary>
    public const string DataName = RunFolder.CheckpointName;

    /// <summary>Description of the newest data file.</summary>
    public const string InfoName = RunFolder.CheckpointInfoName;

    /// <summary>Second name of the best data file, if scores are given.</summary>
    public const string BestName = "checkpoint-best.safetensors";

    /// <summary>The weights in the folder of a model package.</summary>
    public const string PackageWeightsName = "model.safetensors";

    private const string InfoKey = "coclr.checkpoint";
    internal static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly string _folder;
    private readonly int _keep;
    private readonly Action<string> _warn;

    /// <summary>Opens the checkpoints of a folder; the folder is made when the first is saved.</summary>
    /// <param name="folder">For example <c>RUN/stages/pretrain-rgb</c>.</param>
    /// <param name="keep">How many of the newest to keep, at least 1; the best is kept besides.</param>
    /// <param name="warn">Told about damaged checkpoints that were passed over.</param>
    public CheckpointStore(string folder, int keep = 2, Action<string>? warn = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keep, 1);
        _folder = folder;
        _keep = keep;
        _warn = warn ?? (_ => { });
    }

    /// <summary>Saves a checkpoint. A kill at any moment leaves either this one or the one before.</summary>
    /// <param name="info">Its description; file name and checksums are filled in.</param>
    /// <param name="tensors">Tensors by name, on any device.</param>
    /// <param name="best">True when it is the best so far.</param>
    /// <returns>The description as written.</returns>
    /// <exception cref="UserErrorException">The disk is full or the folder cannot be written (1).</exception>
    public CheckpointInfo Save(CheckpointInfo info, IReadOnlyDictionary<string, Tensor> tensors, bool best = false)
    {
        ArgumentNullException.ThrowIfNull(info);
        ArgumentNullException.ThrowIfNull(tensors);
        var hash = new XxHash128();
        foreach (var (_, tensor) in tensors.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            Safetensors.WithBytes(tensor, bytes => hash.Append(bytes));
        }

        var full = info with { File = VersionName(info.Step), DataHash = Convert.ToHexStringLower(hash.GetCurrentHash()), Sha256 = null };
        var path = Path.Combine(_folder, full.File);
        using var sha = SHA256.Create();
        WholeFile.Write(path, stream =>
        {
            using var hashing = new CryptoStream(stream, sha, CryptoStreamMode.Write, leaveOpen: true);
            Safetensors.Write(
                hashing,
                tensors,
                new Dictionary<string,
                string>
                { [InfoKey] = JsonSerializer.Serialize(full, Json), ["format"] = "coclr" });
        });
        full = full with { Sha256 = Convert.ToHexStringLower(sha.Hash!) };
        Alias(path, DataName);
        if (best)
        {
            Alias(path, BestName);
        }

        WholeFile.WriteText(Path.Combine(_folder, InfoName), JsonSerializer.Serialize(full, Json) + "\n");
        foreach (var old in Versions().Skip(_keep))
        {
            File.Delete(old);
        }

        return full;
    }

    /// <summary>Loads the newest whole checkpoint; damaged ones are passed over with a warning.</summary>
    /// <returns>Null when there is none.</returns>
    /// <exception cref="UserErrorException">There are checkpoints, but all are damaged (65).</exception>
    public Checkpoint? LoadNewest()
    {
        var candidates = Versions().ToList();
        var alias = Path.Combine(_folder, DataName);
        if (File.Exists(alias))
        {
            // Last: it is a second name of the newest, unless somebody copied only the pair.
            candidates.Add(alias);
        }

        var damaged = new List<string>();
        foreach (var path in candidates)
        {
            try
            {
                var checkpoint = Load(path);
                foreach (var message in damaged)
                {
                    _warn($"{message} Going on from step {checkpoint.Info.Step.ToString(CultureInfo.InvariantCulture)} in {path}.");
                }

                return checkpoint;
            }
            catch (UserErrorException e) when (e.ExitCode is ExitCodes.BadData or ExitCodes.MissingInput)
            {
                damaged.Add(e.Message);
            }
        }

        return damaged.Count == 0
            ? null
            : throw new UserErrorException(
                $"No checkpoint in {_folder} is whole. {damaged[0]} Delete them to start the stage anew.", ExitCodes.BadData);
    }

    /// <summary>The data file that a path means.</summary>
    /// <param name="path">A data file, a stage's folder (then its newest) or the folder of a model package.</param>
    public static string FileOf(string path) =>
        !Directory.Exists(path) ? path
        : Path.Combine(path, File.Exists(Path.Combine(path, PackageWeightsName)) ? PackageWeightsName : DataName);

    /// <summary>Loads a checkpoint and checks its sum.</summary>
    /// <param name="path">A data file, a stage's folder (then its newest) or the folder of a model package.</param>
    /// <exception cref="UserErrorException">Missing (66); damaged or not written by this program (65).</exception>
    public static Checkpoint Load(string path)
    {
        var file = FileOf(path);
        var hash = new XxHash128();
        return Checked(Safetensors.Read(file, bytes => hash.Append(bytes)), hash, file);
    }

    /// <summary>As <see cref="Load(string)"/>, from a stream of known length.</summary>
    internal static Checkpoint Load(Stream stream, string file)
    {
        var hash = new XxHash128();
        return Checked(Safetensors.Read(stream, file, bytes => hash.Append(bytes)), hash, file);
    }

    private static Checkpoint Checked(
        (Dictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, string> Metadata) read, XxHash128 hash, string file)
    {
        var (tensors, metadata) = read;
        try
        {
            var info = Parse(metadata, file);
            if (info.DataHash != Convert.ToHexStringLower(hash.GetCurrentHash()))
            {
                throw new UserErrorException($"{file} is damaged: its checksum does not fit.", ExitCodes.BadData);
            }

            return new Checkpoint(info, tensors);
        }
        catch
        {
            Safetensors.DisposeAll(tensors);
            throw;
        }
    }

    /// <summary>Reads a checkpoint's description without its tensors.</summary>
    /// <param name="path">A data file, or a stage's folder.</param>
    /// <exception cref="UserErrorException">As <see cref="Load(string)"/>.</exception>
    public static CheckpointInfo Describe(string path)
    {
        var file = FileOf(path);
        return Parse(Safetensors.ReadHeader(file).Metadata, file);
    }

    /// <summary>Removes everything, for a stage that starts anew.</summary>
    public void Clear()
    {
        foreach (var path in Versions().Concat(new[] { InfoName, DataName, BestName }.Select(name => Path.Combine(_folder, name))))
        {
            File.Delete(path);
        }
    }

    private static CheckpointInfo Parse(IReadOnlyDictionary<string, string> metadata, string file)
    {
        try
        {
            if (metadata.TryGetValue(InfoKey, out var text) && JsonSerializer.Deserialize<CheckpointInfo>(text, Json) is { Format: 1 } info)
            {
                return info;
            }
        }
        catch (JsonException e)
        {
            throw new UserErrorException($"{file} is damaged: its description cannot be read.", ExitCodes.BadData, e);
        }

        throw new UserErrorException(
            $"{file} is not a checkpoint of this program (or of a newer version); use `coclr import` for other files.", ExitCodes.BadData);
    }

    private static string VersionName(long step) => $"checkpoint-{step.ToString("D9", CultureInfo.InvariantCulture)}.safetensors";

    /// <summary>Data files, newest first.</summary>
    private IEnumerable<string> Versions()
        => !Directory.Exists(_folder)
            ? []
            : Directory.EnumerateFiles(_folder, "checkpoint-*.safetensors")
                .Where(
                    path => long.TryParse(
                        Path.GetFileNameWithoutExtension(path).AsSpan("checkpoint-".Length),
                        NumberStyles.None,
                        CultureInfo.InvariantCulture,
                        out _))
                .OrderDescending(StringComparer.Ordinal);

    /// <summary>Gives a data file a second name, replacing what had it, in one rename.</summary>
    private void Alias(string path, string name)
    {
        var target = Path.Combine(_folder, name);
        var temporary = $"{target}.{Environment.ProcessId:x}.tmp";
        File.Delete(temporary);
        WholeFile.Link(path, temporary);
        File.Move(temporary, target, overwrite: true);
    }
}
