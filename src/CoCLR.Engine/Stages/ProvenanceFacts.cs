// Why this exists: what this process can say of itself, for the report: program, libraries, data, and the command that runs it again.
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using TorchSharp;

namespace CoCLR.Engine.Stages;

/// <summary>Gathers a report's provenance.</summary>
internal static class ProvenanceFacts
{
    /// <summary>Name of the manifest that the report stage leaves in the run folder.</summary>
    public const string ManifestFile = "manifest.yaml";

    /// <summary>Where the numbers of a run come from.</summary>
    /// <param name="context">The report stage.</param>
    /// <param name="results">Results of the other stages.</param>
    public static Provenance Of(StageContext context, IReadOnlyList<StageResult> results)
    {
        string[] version =
            (typeof(ProvenanceFacts).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "")
            .Split('+', 2);
        bool pod = Environment.GetEnvironmentVariable("COCLR_POD_NAME") is { Length: > 0 };
        return new Provenance
        {
            Version = version[0],
            Commit = version.Length > 1 ? version[1] : null,
            Image = Environment.GetEnvironmentVariable("COCLR_IMAGE") is { Length: > 0 } image ? image : null,
            ManifestHash = context.Plan.SpecHash,
            DataFingerprint = results.Select(r => r.Outcome).OfType<DataResult>().Select(d => d.Fingerprint).FirstOrDefault(f => f != null),
            Libraries = new SortedDictionary<string, string>(StringComparer.Ordinal)
            {
                [".NET"] = Environment.Version.ToString(),
                ["libtorch"] = TorchRuntime.Describe().LibraryVersion,
                ["TorchSharp"] = typeof(torch).Assembly.GetName().Version?.ToString(3) ?? "unknown",
                ["ffmpeg"] = FfmpegTool.Version?.ToString() ?? "unknown",
                ["system"] = $"{RuntimeInformation.OSDescription} {RuntimeInformation.OSArchitecture}",
            },
            Command = pod ? $"kubectl apply -f {ManifestFile}" : $"coclr run -f {ManifestFile}",
        };
    }

    /// <summary>A fingerprint of a data set that is the same wherever its files lie and whenever they were written.</summary>
    /// <param name="catalogue">The data set.</param>
    public static string Fingerprint(VideoCatalogue catalogue)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (CatalogueVideo video in catalogue.Videos.OrderBy(v => v.Id, StringComparer.Ordinal))
        {
            var file = new FileInfo(video.Path);
            hash.AppendData(Encoding.UTF8.GetBytes(string.Create(
                CultureInfo.InvariantCulture,
                $"{video.Id}\0{video.Class}\0{video.Group}\0{video.Split}\0{(file.Exists ? file.Length : -1)}\n")));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
