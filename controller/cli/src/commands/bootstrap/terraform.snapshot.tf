resource "aws_iam_role" "rolectl" {
  name                 = "rolectl"
  description          = "Assumed by rolectl under MFA to manage IAM roles"
  max_session_duration = 3600
  permissions_boundary = "arn:aws:iam::aws:policy/PowerUserAccess"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          AWS = "arn:aws:iam::111111111111:root"
        }
        Action = [
          "sts:AssumeRole",
          "sts:SetSourceIdentity"
        ]
        Condition = {
          Bool = {
            "aws:MultiFactorAuthPresent" = "true"
          }
          StringEquals = {
            "sts:ExternalId" = "x:1"
          }
        }
      }
    ]
  })
}

resource "aws_iam_role_policy" "rolectl" {
  name = "rolectl"
  role = aws_iam_role.rolectl.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Read"
        Effect = "Allow"
        Action = [
          "iam:ListRoles",
          "iam:GetAccountAuthorizationDetails",
          "iam:GetAccountSummary"
        ]
        Resource = "*"
      },
      {
        Sid    = "Manage"
        Effect = "Allow"
        Action = [
          "iam:GetRole",
          "iam:GetInstanceProfile",
          "iam:CreateRole",
          "iam:DeleteRole",
          "iam:UpdateRole",
          "iam:UpdateAssumeRolePolicy",
          "iam:TagRole",
          "iam:UntagRole",
          "iam:PutRolePermissionsBoundary",
          "iam:DeleteRolePermissionsBoundary",
          "iam:AttachRolePolicy",
          "iam:DetachRolePolicy",
          "iam:PutRolePolicy",
          "iam:DeleteRolePolicy",
          "iam:CreateInstanceProfile",
          "iam:DeleteInstanceProfile",
          "iam:AddRoleToInstanceProfile",
          "iam:RemoveRoleFromInstanceProfile",
          "iam:UntagInstanceProfile",
          "iam:TagInstanceProfile"
        ]
        Resource = [
          "arn:aws:iam::*:role/apps/eu/*",
          "arn:aws:iam::*:instance-profile/apps/eu/*"
        ]
      },
      {
        Sid      = "Pass"
        Effect   = "Allow"
        Action   = "iam:PassRole"
        Resource = "arn:aws:iam::*:role/apps/eu/*"
        Condition = {
          StringEquals = {
            "iam:PassedToService" = "ec2.amazonaws.com"
          }
        }
      },
      {
        Sid    = "NotItself"
        Effect = "Deny"
        NotAction = [
          "iam:Get*",
          "iam:List*"
        ]
        Resource = [
          "arn:aws:iam::*:role/rolectl",
          "arn:aws:iam::*:role/*/rolectl"
        ]
      }
    ]
  })
}
