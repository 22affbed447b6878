// Why this exists: kubectl writes a few built-in kinds in the API's protobuf form and has no other for them (`kubectl create configmap`,
// `kubectl auth can-i`, `kubectl create token`, eviction). Only those messages are known here; others get 415 as from a server without
// protobuf.
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Reads the protobuf form of some kinds.</summary>
public static class Protobuf
{
    /// <summary>The media type.</summary>
    public const string MediaType = "application/vnd.kubernetes.protobuf";

    private static readonly byte[] Magic = [0x6b, 0x38, 0x73, 0x00];

    // message -> "number name type"; types: s string, b base64 bytes, i integer, f flag, m message, ls/lm lists, ms/mb/mq maps of
    // strings/bytes/quantities.
    private static readonly Dictionary<string, string[]> Messages = new(StringComparer.Ordinal)
    {
        ["Unknown"] = ["1 typeMeta m TypeMeta", "2 raw b", "3 contentEncoding s", "4 contentType s"],
        ["TypeMeta"] = ["1 apiVersion s", "2 kind s"],
        ["ObjectMeta"] =
        [
            "1 name s", "2 generateName s", "3 namespace s", "5 uid s", "6 resourceVersion s", "7 generation i", "11 labels ms",
            "12 annotations ms", "13 ownerReferences lm OwnerReference", "14 finalizers ls"
        ],
        ["OwnerReference"] = ["5 apiVersion s", "1 kind s", "3 name s", "4 uid s", "6 controller f", "7 blockOwnerDeletion f"],
        ["ConfigMap"] = ["1 metadata m ObjectMeta", "2 data ms", "3 binaryData mb", "4 immutable f"],
        ["Secret"] = ["1 metadata m ObjectMeta", "2 data mb", "3 type s", "4 stringData ms", "5 immutable f"],
        ["Namespace"] = ["1 metadata m ObjectMeta", "2 spec m NamespaceSpec"],
        ["NamespaceSpec"] = ["1 finalizers ls"],
        ["ServiceAccount"] = ["1 metadata m ObjectMeta", "4 automountServiceAccountToken f"],
        ["ResourceQuota"] = ["1 metadata m ObjectMeta", "2 spec m ResourceQuotaSpec"],
        ["ResourceQuotaSpec"] = ["1 hard mq", "2 scopes ls"],
        ["Role"] = ["1 metadata m ObjectMeta", "2 rules lm PolicyRule"],
        ["ClusterRole"] = ["1 metadata m ObjectMeta", "2 rules lm PolicyRule"],
        ["PolicyRule"] = ["1 verbs ls", "2 apiGroups ls", "3 resources ls", "4 resourceNames ls", "5 nonResourceURLs ls"],
        ["RoleBinding"] = ["1 metadata m ObjectMeta", "2 subjects lm Subject", "3 roleRef m RoleRef"],
        ["ClusterRoleBinding"] = ["1 metadata m ObjectMeta", "2 subjects lm Subject", "3 roleRef m RoleRef"],
        ["Subject"] = ["1 kind s", "2 apiGroup s", "3 name s", "4 namespace s"],
        ["RoleRef"] = ["1 apiGroup s", "2 kind s", "3 name s"],
        ["SelfSubjectAccessReview"] = ["1 metadata m ObjectMeta", "2 spec m SelfSubjectAccessReviewSpec"],
        ["SelfSubjectAccessReviewSpec"] = ["1 resourceAttributes m ResourceAttributes", "2 nonResourceAttributes m NonResourceAttributes"],
        ["ResourceAttributes"] = ["1 namespace s", "2 verb s", "3 group s", "4 version s", "5 resource s", "6 subresource s", "7 name s"],
        ["NonResourceAttributes"] = ["1 path s", "2 verb s"],
        ["SelfSubjectRulesReview"] = ["1 metadata m ObjectMeta", "2 spec m SelfSubjectRulesReviewSpec"],
        ["SelfSubjectRulesReviewSpec"] = ["1 namespace s"],
        ["SelfSubjectReview"] = ["1 metadata m ObjectMeta"],
        ["TokenRequest"] = ["1 metadata m ObjectMeta", "2 spec m TokenRequestSpec"],
        ["TokenRequestSpec"] = ["1 audiences ls", "4 expirationSeconds i", "3 boundObjectRef m BoundObjectReference"],
        ["BoundObjectReference"] = ["1 kind s", "2 apiVersion s", "3 name s", "4 uid s"],
        ["Eviction"] = ["1 metadata m ObjectMeta", "2 deleteOptions m DeleteOptions"],
        ["DeleteOptions"] = ["1 gracePeriodSeconds i", "2 preconditions m Preconditions", "4 propagationPolicy s", "5 dryRun ls"],
        ["Preconditions"] = ["1 uid s", "2 resourceVersion s"],
        ["PriorityClass"] = ["1 metadata m ObjectMeta", "2 value i", "3 globalDefault f", "4 description s", "5 preemptionPolicy s"],
    };

    /// <summary>The object as JSON, or null when its kind is not known here.</summary>
    public static JsonObject? Read(ReadOnlySpan<byte> bytes)
    {
        if (!bytes.StartsWith(Magic))
        {
            return null;
        }

        var envelope = Message("Unknown", bytes[4..]);
        var kind = envelope.Text("typeMeta", "kind") ?? "";
        if (!Messages.ContainsKey(kind))
        {
            return null;
        }

        var o = Message(kind, Convert.FromBase64String(envelope.Text("raw") ?? ""));
        o["apiVersion"] = envelope.Text("typeMeta", "apiVersion");
        o["kind"] = kind;
        return o;
    }

    private static JsonObject Message(string name, ReadOnlySpan<byte> bytes)
    {
        var fields = Messages[name].Select(f => f.Split(' '))
            .ToDictionary(f => ulong.Parse(f[0], System.Globalization.CultureInfo.InvariantCulture));
        var o = new JsonObject();
        while (bytes.Length > 0)
        {
            var tag = Varint(ref bytes);
            var field = fields.GetValueOrDefault(tag >> 3);
            switch (tag & 7)
            {
                case 0:
                    var number = Varint(ref bytes);
                    if (field is not null)
                    {
                        o[field[1]] = field[2] == "f" ? JsonValue.Create(number != 0) : JsonValue.Create((long)number);
                    }

                    break;
                case 1:
                    bytes = bytes[8..];
                    break;
                case 5:
                    bytes = bytes[4..];
                    break;
                default:
                    var length = (int)Varint(ref bytes);
                    if (field is not null)
                    {
                        Put(o, field, bytes[..length]);
                    }

                    bytes = bytes[length..];
                    break;
            }
        }

        return o;
    }

    private static void Put(JsonObject o, string[] field, ReadOnlySpan<byte> value)
    {
        switch (field[2])
        {
            case "s":
                // An empty string is how the format writes an absent one.
                if (value.Length > 0)
                {
                    o[field[1]] = Encoding.UTF8.GetString(value);
                }

                break;
            case "b":
                o[field[1]] = Convert.ToBase64String(value);
                break;
            case "m":
                o[field[1]] = Message(field[3], value);
                break;
            case "ls":
                o.EnsureItems(field[1]).Add(Encoding.UTF8.GetString(value));
                break;
            case "lm":
                o.EnsureItems(field[1]).Add(Message(field[3], value));
                break;
            default:
                var key = "";
                JsonNode? entry = field[2] == "mb" ? "" : "";
                while (value.Length > 0)
                {
                    var tag = Varint(ref value);
                    var length = (int)Varint(ref value);
                    var part = value[..length];
                    value = value[length..];
                    if (tag >> 3 == 1)
                    {
                        key = Encoding.UTF8.GetString(part);
                    }
                    else if (field[2] == "mq")
                    {
                        Varint(ref part);
                        Varint(ref part);
                        entry = Encoding.UTF8.GetString(part);
                    }
                    else
                    {
                        entry = field[2] == "mb" ? Convert.ToBase64String(part) : Encoding.UTF8.GetString(part);
                    }
                }

                o.Ensure(field[1])[key] = entry;
                break;
        }
    }

    private static ulong Varint(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var b = bytes[0];
            bytes = bytes[1..];
            value |= (ulong)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }
    }
}
