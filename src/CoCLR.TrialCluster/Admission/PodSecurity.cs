// Why this exists: the Pod Security Standards, enforced where a namespace asks for them: training pods must pass `restricted`.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Pod Security admission.</summary>
internal static class PodSecurity
{
    private static readonly HashSet<string> RestrictedVolumes =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image"];
    private static readonly HashSet<string> BaselineCapabilities =
    [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
        "SETUID", "SYS_CHROOT",
    ];

    /// <summary>Refuses pods that break the level of their namespace; workloads only get a warning, as on a real server.</summary>
    public static void Check(InProcessCluster cluster, AdmissionRequest request)
    {
        if (request.Namespace.Length == 0 || (request.Old is not null && Json.Same(request.Old["spec"], request.Object["spec"])))
        {
            return;
        }

        var pod = request.Is("", "pods") ? request.Object.Map("spec") : request.Object.Map("spec", "template", "spec");
        if (pod is null || request.Kind.IsCustom)
        {
            return;
        }

        var labels = cluster.Store.Get(new ResourceKey("", "namespaces"), "", request.Namespace)?.Value.At("metadata", "labels");
        var enforce = labels.Text("pod-security.kubernetes.io/enforce");
        var warn = labels.Text("pod-security.kubernetes.io/warn") ?? (request.Is("", "pods") ? null : enforce);
        if (request.Is("", "pods") && Violations(pod, enforce) is { Count: > 0 } broken)
        {
            throw ApiException.Forbidden(
                "",
                "pods",
                request.Object.Text("metadata", "name") ?? "",
                $"violates PodSecurity \"{enforce}:latest\": {string.Join(", ", broken)}");
        }

        if (Violations(pod, warn) is { Count: > 0 } risky)
        {
            request.Context.Warnings.Add($"would violate PodSecurity \"{warn}:latest\": {string.Join(", ", risky)}");
        }
    }

    /// <summary>What breaks a level, in the words of the admission plugin.</summary>
    public static List<string> Violations(JsonObject pod, string? level)
    {
        var broken = new List<string>();
        if (level is not ("baseline" or "restricted"))
        {
            return broken;
        }

        var containers = pod.Items("containers").Concat(pod.Items("initContainers")).OfType<JsonObject>().ToList();
        string Names(IEnumerable<JsonObject> which)
        {
            var names = which.Select(c => $"\"{c.Text("name")}\"").ToList();
            return (names.Count == 1 ? "container " : "containers ") + string.Join(", ", names);
        }

        void Rule(string title, Func<JsonObject, bool> bad, string must)
        {
            var which = containers.Where(bad).ToList();
            if (which.Count > 0)
            {
                broken.Add($"{title} ({Names(which)} {must})");
            }
        }

        Rule("privileged", c => c.Flag("securityContext", "privileged") == true, "must not set securityContext.privileged=true");
        foreach (var host in new[] { "hostNetwork", "hostPID", "hostIPC" })
        {
            if (pod.Flag(host) == true)
            {
                broken.Add($"host namespaces ({host}=true)");
            }
        }

        if (pod.Items("volumes").Where(v => v.Map("hostPath") is not null).Select(v => $"\"{v.Text("name")}\"").ToList() is { Count: > 0 } hostPaths)
        {
            broken.Add($"hostPath volumes (volume {string.Join(", ", hostPaths)})");
        }

        Rule("hostPort", c => c.Items("ports").Any(p => p.Number("hostPort") > 0), "uses a hostPort");
        Rule(
            "non-default capabilities",
            c => c.Items("securityContext", "capabilities", "add").Any(a => !BaselineCapabilities.Contains(a.Text() ?? "")),
            "must not include capabilities in securityContext.capabilities.add");
        if (level == "baseline")
        {
            return broken;
        }

        Rule(
            "allowPrivilegeEscalation != false",
            c => c.Flag("securityContext", "allowPrivilegeEscalation") != false,
            "must set securityContext.allowPrivilegeEscalation=false");
        Rule(
            "unrestricted capabilities",
            c => !c.Items("securityContext", "capabilities", "drop").Any(d => d.Text() == "ALL")
                || c.Items("securityContext", "capabilities", "add").Any(a => a.Text() != "NET_BIND_SERVICE"),
            "must set securityContext.capabilities.drop=[\"ALL\"]");
        var volumes = pod.Items("volumes")
            .Where(v => v is JsonObject o && o.Any(p => p.Key != "name" && !RestrictedVolumes.Contains(p.Key)))
            .Select(v => $"\"{v.Text("name")}\"").ToList();
        if (volumes.Count > 0)
        {
            broken.Add($"restricted volume types (volumes {string.Join(", ", volumes)} use restricted volume types)");
        }

        var podNonRoot = pod.Flag("securityContext", "runAsNonRoot") == true;
        var rootful = containers.Where(c => (c.Flag("securityContext", "runAsNonRoot") ?? podNonRoot) != true).ToList();
        if (rootful.Count > 0)
        {
            broken.Add($"runAsNonRoot != true (pod or {Names(rootful)} must set securityContext.runAsNonRoot=true)");
        }

        if (pod.Number("securityContext", "runAsUser") == 0 || containers.Exists(c => c.Number("securityContext", "runAsUser") == 0))
        {
            broken.Add("runAsUser=0 (pod must not set runAsUser=0)");
        }

        var podSeccomp = pod.Text("securityContext", "seccompProfile", "type") is "RuntimeDefault" or "Localhost";
        var open = containers.Where(
            c => c.Text("securityContext", "seccompProfile", "type") is { } t ? t is not ("RuntimeDefault" or "Localhost") : !podSeccomp)
            .ToList();
        if (open.Count > 0)
        {
            broken.Add($"seccompProfile (pod or {Names(open)} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
                + $"\"Localhost\")");
        }

        return broken;
    }
}
