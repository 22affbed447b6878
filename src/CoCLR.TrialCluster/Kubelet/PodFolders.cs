// Why this exists: the volumes of a pod as folders: claims, scratch space, configuration, secrets, tokens.
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>A volume that cannot be mounted yet.</summary>
public sealed class MountException(string message) : Exception(message);

/// <summary>Makes the folders that stand for a pod's volumes.</summary>
public sealed class PodFolders(InProcessCluster cluster, JsonObject pod)
{
    private static readonly ResourceKey Secrets = new("", "secrets");
    private static readonly ResourceKey ConfigMaps = new("", "configmaps");

    private readonly string _ns = pod.Text("metadata", "namespace")!;

    /// <summary>Where everything of this pod is.</summary>
    public string Root { get; } = Path.Combine(cluster.Folder, "pods", pod.Text("metadata", "uid")!);

    /// <summary>The folder of a volume.</summary>
    public string VolumeFolder(JsonNode volume)
    {
        if (volume.Text("persistentVolumeClaim", "claimName") is { } claim)
        {
            return Path.Combine(cluster.Folder, "claims", _ns, claim);
        }

        if (volume.Text("hostPath", "path") is { } host)
        {
            return host;
        }

        return Path.Combine(Root, "volumes", volume.Text("name")!);
    }

    /// <summary>The folders of all mounts of a container: mount path and folder.</summary>
    public List<(string Mount, string Folder)> Mounts(JsonNode container)
    {
        var volumes = pod.Items("spec", "volumes").ToDictionary(v => v.Text("name")!, v => v!);
        var mounts = new List<(string, string)>();
        foreach (var mount in container.Items("volumeMounts"))
        {
            if (!volumes.TryGetValue(mount.Text("name") ?? "", out var volume))
            {
                continue;
            }

            var folder = VolumeFolder(volume);
            if (mount.Text("subPath") is { Length: > 0 } sub)
            {
                folder = Path.Combine(folder, sub);
                if (!File.Exists(folder))
                {
                    Directory.CreateDirectory(folder);
                }
            }

            mounts.Add((mount.Text("mountPath")!, folder));
        }

        return mounts;
    }

    /// <summary>Makes and fills all volumes. Files of ConfigMaps get the mount paths of the pod replaced.</summary>
    /// <exception cref="MountException">What is missing, in the kubelet's words.</exception>
    public void Prepare()
    {
        foreach (var volume in pod.Items("spec", "volumes").OfType<JsonObject>())
        {
            Directory.CreateDirectory(VolumeFolder(volume));
        }

        var rewriter = new PathRewriter(pod.Items("spec", "containers").SelectMany(c => Mounts(c!)).DistinctBy(m => m.Mount));
        foreach (var volume in pod.Items("spec", "volumes").OfType<JsonObject>())
        {
            var folder = VolumeFolder(volume);
            var name = volume.Text("name")!;
            if (volume.Map("configMap") is { } configMap)
            {
                Fill(folder, name, "configmap", ConfigMaps, configMap.Text("name") ?? "", configMap, rewriter);
            }
            else if (volume.Map("secret") is { } secret)
            {
                Fill(folder, name, "secret", Secrets, secret.Text("secretName") ?? "", secret, null);
            }
            else if (volume.Map("downwardAPI") is { } downward)
            {
                Downward(folder, downward);
            }

            foreach (var source in volume.Items("projected", "sources"))
            {
                if (source.Map("configMap") is { } c)
                {
                    Fill(folder, name, "configmap", ConfigMaps, c.Text("name") ?? "", c, rewriter);
                }
                else if (source.Map("secret") is { } s)
                {
                    Fill(folder, name, "secret", Secrets, s.Text("name") ?? "", s, null);
                }
                else if (source.Map("downwardAPI") is { } d)
                {
                    Downward(folder, d);
                }
            }
        }

        WriteTokens();
    }

    /// <summary>Writes the projected tokens, at the start and from time to time again as they would expire.</summary>
    public void WriteTokens()
    {
        foreach (var volume in pod.Items("spec", "volumes").OfType<JsonObject>())
        {
            foreach (var source in volume.Items("projected", "sources"))
            {
                if (source.Map("serviceAccountToken") is not { } token)
                {
                    continue;
                }

                var audience = token.Text("audience");
                var (text, _) = cluster.Tokens.Issue(_ns, pod.Text("spec", "serviceAccountName") ?? "default", audience is { Length: > 0 } ? [audience] : [],
                    TimeSpan.FromSeconds(token.Number("expirationSeconds") ?? 3600), pod.Text("metadata", "name"),
                    pod.Text("metadata", "uid"));
                Write(VolumeFolder(volume), token.Text("path") ?? "token", Encoding.UTF8.GetBytes(text));
            }
        }
    }

    private static void Write(string folder, string relative, byte[] bytes)
    {
        var path = Path.Combine(folder, relative);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
    }

    private void Fill(string folder, string volume, string what, ResourceKey key, string name, JsonObject source, PathRewriter? rewriter)
    {
        if (cluster.Store.Get(key, _ns, name) is not { } stored)
        {
            if (source.Flag("optional") == true)
            {
                return;
            }

            throw new MountException($"MountVolume.SetUp failed for volume \"{volume}\" : {what} \"{name}\" not found");
        }

        var files = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (file, value) in stored.Value.Map("data") ?? [])
        {
            files[file] = what == "secret" ? Convert.FromBase64String(value.Text() ?? "") : Encoding.UTF8.GetBytes(value.Text() ?? "");
        }

        foreach (var (file, value) in stored.Value.Map("binaryData") ?? [])
        {
            files[file] = Convert.FromBase64String(value.Text() ?? "");
        }

        var items = source.Items("items");
        if (items.Count > 0)
        {
            var chosen = new Dictionary<string, byte[]>(StringComparer.Ordinal);
            foreach (var item in items)
            {
                if (!files.TryGetValue(item.Text("key") ?? "", out var bytes))
                {
                    if (source.Flag("optional") == true)
                    {
                        continue;
                    }

                    throw new MountException($"MountVolume.SetUp failed for volume \"{volume}\" : references non-existent "
                        + $"{(what == "secret" ? "secret" : "config")} key: {item.Text("key")}");
                }

                chosen[item.Text("path") ?? ""] = bytes;
            }

            files = chosen;
        }

        foreach (var (file, bytes) in files)
        {
            Write(folder, file, rewriter is null ? bytes : rewriter.Forth(bytes));
        }
    }

    private void Downward(string folder, JsonObject source)
    {
        foreach (var item in source.Items("items"))
        {
            Write(folder, item.Text("path") ?? "", Encoding.UTF8.GetBytes(FieldOf(item.Text("fieldRef", "fieldPath") ?? "") ?? ""));
        }
    }

    /// <summary>The value of a `fieldRef`, or null where the field is not supported.</summary>
    public string? FieldOf(string path)
    {
        if (path.StartsWith("metadata.labels['", StringComparison.Ordinal)
            || path.StartsWith("metadata.annotations['", StringComparison.Ordinal))
        {
            var open = path.IndexOf('[', StringComparison.Ordinal);
            return pod.Text("metadata", path["metadata.".Length..open], path[(open + 2)..^2]) ?? "";
        }

        return path switch
        {
            "metadata.labels" or "metadata.annotations" =>
                string.Join('\n', (pod.Map("metadata", path[9..]) ?? []).Select(p => $"{p.Key}=\"{p.Value}\"")),
            "status.hostIP" => "127.0.0.1",
            "status.podIP" or "status.podIPs" => pod.Text("status", "podIP"),
            _ => pod.At(path.Split('.')) is { } node ? node.Text() ?? node.ToJsonString() : "",
        };
    }

    /// <summary>The value of a `resourceFieldRef`.</summary>
    public static string ResourceOf(JsonNode container, JsonNode reference)
    {
        var resource = (reference.Text("resource") ?? "").Split('.', 2);
        var value = Quantities.Parse(container.At("resources", resource[0], resource.Length > 1 ? resource[1] : "")) ?? 0;
        var divisor = Quantities.Parse(reference.At("divisor")) is { } d && d > 0 ? d : 1;
        return Math.Ceiling(value / divisor).ToString(CultureInfo.InvariantCulture);
    }
}
